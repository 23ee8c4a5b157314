/*
 * Frames that Rust does not make: alloca, and locals that are aligned beyond the stack. Compiled twice, optimized and
 * not; VARIANT is put before the names. Every function uses its locals after the call, or the call would be a jump.
 */
#include <alloca.h>
#include <stddef.h>

typedef void (*callback)(void *argument);

#define PASTE(a, b) a##b
#define JOIN(a, b) PASTE(a, b)
#define NAME(name) JOIN(VARIANT, name)
/* Says that the memory may be read and written. */
#define USE(memory) __asm__ volatile("" : : "r"(memory) : "memory")

void NAME(_plain)(size_t bytes, callback call, void *argument) {
    USE(&bytes);
    call(argument);
    USE(&bytes);
}

void NAME(_alloca)(size_t bytes, callback call, void *argument) {
    char *room = alloca(bytes);
    USE(room);
    call(argument);
    USE(room);
}

#define ALIGNED(align)                                                         \
    void NAME(_aligned_##align)(size_t bytes, callback call, void *argument) { \
        _Alignas(align) char room[align];                                      \
        room[bytes % align] = 1;                                               \
        USE(room);                                                             \
        call(argument);                                                        \
        USE(room);                                                             \
    }

ALIGNED(32)
ALIGNED(64)
ALIGNED(128)

void NAME(_aligned_alloca)(size_t bytes, callback call, void *argument) {
    _Alignas(64) char fixed[64];
    char *room = alloca(bytes);
    USE(fixed);
    USE(room);
    call(argument);
    USE(fixed);
}

/* Two calls with other bytes below them: one return address of the callers, different frames. */
void NAME(_alloca_loop)(size_t bytes, callback call, void *argument) {
    for (size_t more = bytes; more < 4 * bytes; more += bytes) {
        NAME(_alloca)(more, call, argument);
    }
}

/*
 * Callers whose frames differ in nothing but their size. With as much more on the stack of the function that they call,
 * everything further in is at the same addresses, whoever the caller is.
 */
typedef void (*through)(size_t bytes, callback call, void *argument);

#define CALLER(room_bytes)                                                                           \
    void NAME(_from_##room_bytes)(through next, size_t bytes, callback call, void *argument) {       \
        char room[room_bytes];                                                                       \
        USE(room);                                                                                   \
        next(bytes, call, argument);                                                                 \
        USE(room);                                                                                   \
    }

CALLER(16)
CALLER(32)
CALLER(48)
CALLER(64)
CALLER(2048)
