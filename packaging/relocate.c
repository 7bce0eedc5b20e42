/*
 * Sets the addresses in a program that can be loaded anywhere, where its linker has packed them (packaging/link-small).
 *
 * Listed in 24 bytes each they are a third of a megabyte, which is read at every start and stays in an idle daemon's memory; packed, some
 * kilobytes. The C library can read the packed list since glibc 2.36, and refuses a program that has one and does not ask for that
 * version. So the list has the tags by which Android calls it, which every C library passes over, and the program reads it itself:
 * first of all, in _init, when the C library has done the rest.
 *
 * The list (generic ABI, "RELR"): an even word is the place of an address, and an odd one has a bit for each of the 63 places behind it.
 */
#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ANDROID_RELR = 0x6fffe000, ANDROID_RELRSZ = 0x6fffe001 };

#define OWN __attribute__((visibility("hidden")))
extern const Elf64_Ehdr __ehdr_start OWN;
extern const Elf64_Dyn _DYNAMIC[] OWN;
OWN void uplift_relocate(void);

struct span {
    uint64_t from, to;
};

static void set(uint64_t *place, uint64_t base, struct span thread)
{
    /* Of a thread's variables the first thread has its copy already, which would stay wrong. */
    if ((uint64_t)place - thread.from < thread.to - thread.from)
        __builtin_trap();
    *place += base;
}

static void set_all(const uint64_t *list, size_t words, uint64_t base, struct span thread)
{
    uint64_t *place = NULL;
    for (size_t i = 0; i < words; i++) {
        if ((list[i] & 1) == 0) {
            place = (uint64_t *)(base + list[i]);
            set(place++, base, thread);
            continue;
        }
        for (unsigned bit = 1; bit < 64; bit++, place++)
            if (list[i] >> bit & 1)
                set(place, base, thread);
    }
}

static const Elf64_Phdr *segment(uint32_t type, uint64_t base)
{
    static const Elf64_Phdr none;
    const Elf64_Phdr *header = (const Elf64_Phdr *)(base + __ehdr_start.e_phoff);
    for (unsigned i = 0; i < __ehdr_start.e_phnum; i++)
        if (header[i].p_type == type)
            return &header[i];
    return &none;
}

void uplift_relocate(void)
{
    uint64_t base = (uint64_t)&__ehdr_start, list = 0, size = 0;
    for (const Elf64_Dyn *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == ANDROID_RELR)
            list = base + entry->d_un.d_ptr;
        else if (entry->d_tag == ANDROID_RELRSZ)
            size = entry->d_un.d_val;
    }
    if (size == 0)
        return;

    const Elf64_Phdr *variables = segment(PT_TLS, base);
    struct span thread = {base + variables->p_vaddr, base + variables->p_vaddr + variables->p_filesz};

    /* What is constant from here on, in whole pages: the C library has made it so already. */
    const Elf64_Phdr *constant = segment(PT_GNU_RELRO, base);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t from = (base + constant->p_vaddr) & -page, to = (base + constant->p_vaddr + constant->p_memsz) & -page;
    if (mprotect((void *)from, to - from, PROT_READ | PROT_WRITE) != 0)
        __builtin_trap();
    set_all((const uint64_t *)list, size / sizeof(uint64_t), base, thread);
    if (mprotect((void *)from, to - from, PROT_READ) != 0)
        __builtin_trap();
}

/* What is in this section is a part of _init, which runs before all else of the program. */
__asm__(".pushsection .init,\"ax\",@progbits\n\tcall uplift_relocate\n\t.popsection");
