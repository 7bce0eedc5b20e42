/* A payload's program. Asked for its version it prints it; otherwise it runs for ever. */
#include <string.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts(VERSION);
        return 0;
    }
    for (;;)
        pause();
}
