#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kind { UNKNOWN, WAIT, HYPERCALL, SYSTEM_REGISTER, LOAD, STORE, FETCH };

struct exit {
    enum kind kind;
    uint32_t reg, width;
    bool is_signed;
};

static uint32_t counts[7];

static struct exit decode_abort(uint32_t esr)
{
    if (!(esr >> 24 & 1))
        return (struct exit){UNKNOWN, 0, 0, false};
    return (struct exit){esr >> 6 & 1 ? STORE : LOAD, esr >> 16 & 31, 1u << (esr >> 22 & 3), esr >> 21 & 1};
}

static struct exit decode(uint32_t esr)
{
    switch (esr >> 26) {
    case 0x01:
        return (struct exit){WAIT, esr & 1, 0, false};
    case 0x12:
    case 0x16:
        return (struct exit){HYPERCALL, esr & 0xffff, 0, false};
    case 0x18:
        return (struct exit){SYSTEM_REGISTER, esr >> 5 & 31, 0, false};
    case 0x20:
        return (struct exit){FETCH, 0, 0, false};
    case 0x24:
        return decode_abort(esr);
    default:
        return (struct exit){UNKNOWN, esr >> 26, 0, false};
    }
}

uint64_t kernel(uint64_t data, uint64_t size, uint64_t out, uint64_t seed)
{
    const uint32_t *syndromes = (const uint32_t *)data;
    uint64_t check = 0;
    for (size_t i = 0; i < size / 4; i++) {
        struct exit e = decode(syndromes[i]);
        counts[e.kind]++;
        check = check * 31 + ((uint64_t)e.reg << 8 | e.width << 2 | e.is_signed);
    }
    for (int i = 0; i < 7; i++)
        check = check * 31 + counts[i];
    return check;
}
