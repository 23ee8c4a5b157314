/*
 * A library whose constructor starts a thread and waits for its end, while the loader holds its lock. Needs `relay.c`.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

void relayed(void);

static void *run(void *argument) {
    relayed();
    return argument;
}

__attribute__((constructor)) static void construct(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, NULL) != 0 || pthread_join(thread, NULL) != 0) {
        abort();
    }
}
