/* The payload's program. Asked for its version it tells it; otherwise it runs for ever, or crashes where it was built to. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes that make a version as large as a test wants it, each version with its own. */
__asm__(".section .rodata\n.global ballast\nballast:\n.incbin \"" BALLAST "\"\n.previous\n");
extern const char ballast[];

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts(VERSION);
        return 0;
    }
    fprintf(stderr, "psdk_demo %s starts (%02x)\n", VERSION, (unsigned char)ballast[0]);
    if (CRASHES) {
        fprintf(stderr, "psdk_demo: no sensor\n");
        abort();
    }
    for (;;)
        pause();
}
