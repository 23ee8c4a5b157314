/*
 * A library to be loaded and unloaded. Compiled several times, with another FRAME_BYTES each: all have the same names,
 * and frames of other sizes at the same places.
 */
#include <stddef.h>

typedef void (*callback)(void *argument);

__attribute__((noinline)) static void inner(callback call, void *argument) {
    volatile char room[FRAME_BYTES];
    room[0] = 1;
    call(argument);
    room[FRAME_BYTES - 1] = 2;
}

void plugin_call(callback call, void *argument) {
    volatile size_t kept = FRAME_BYTES;
    inner(call, argument);
    kept++;
}
