/*
 * A function that returns twice, which Rust cannot call: the body is Rust's, the mark and the jump are C's. One mark a
 * thread.
 */
#include <setjmp.h>

typedef void (*callback)(void *argument);

static __thread sigjmp_buf mark;

/* Calls, and says whether `jump_to_mark` ended it. */
int call_with_mark(callback call, void *argument) {
    if (sigsetjmp(mark, 1) != 0) {
        return 1;
    }
    call(argument);
    return 0;
}

/* On the thread, and inside the call, of `call_with_mark`. */
void jump_to_mark(void) {
    siglongjmp(mark, 1);
}
