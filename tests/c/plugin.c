/*
 * A library to be loaded and unloaded, compiled several times with another FRAME_BYTES each. The numbers are as long as
 * each other in the machine's code: what differs between the libraries is two of them, and what the unwind tables say.
 */
#include <stddef.h>

typedef void (*callback)(void *argument);

__attribute__((noinline)) static void inner(callback call, void *argument) {
    char room[FRAME_BYTES];
    __asm__ volatile("" : : "r"(room) : "memory");
    call(argument);
    __asm__ volatile("" : : "r"(room) : "memory");
}

void plugin_call(callback call, void *argument) {
    inner(call, argument);
    __asm__ volatile("" : : : "memory");
}
