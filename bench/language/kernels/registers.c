#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IRQS 256
#define WORDS (IRQS / 32)

enum outcome { HANDLED, UNHANDLED };

struct distributor {
    uint32_t control;
    uint32_t enabled[WORDS], pending[WORDS];
    uint32_t priority[IRQS / 4], config[IRQS / 16];
};

struct access {
    uint32_t offset;
    bool write;
    uint32_t value;
};

typedef uint32_t handler(struct distributor *d, uint32_t n, const struct access *a);

static uint32_t control(struct distributor *d, uint32_t n, const struct access *a)
{
    if (a->write)
        d->control = a->value & 1;
    return d->control;
}

static uint32_t typer(struct distributor *d, uint32_t n, const struct access *a)
{
    return WORDS - 1;
}

#define SET(name)                                                                  \
    static uint32_t set_##name(struct distributor *d, uint32_t n, const struct access *a) \
    {                                                                              \
        if (a->write)                                                              \
            d->name[n] |= a->value;                                                \
        return d->name[n];                                                         \
    }
#define CLEAR(name)                                                                \
    static uint32_t clear_##name(struct distributor *d, uint32_t n, const struct access *a) \
    {                                                                              \
        if (a->write)                                                              \
            d->name[n] &= ~a->value;                                               \
        return d->name[n];                                                         \
    }
#define PLAIN(name, mask)                                                          \
    static uint32_t plain_##name(struct distributor *d, uint32_t n, const struct access *a) \
    {                                                                              \
        if (a->write)                                                              \
            d->name[n] = a->value & mask;                                          \
        return d->name[n];                                                         \
    }

SET(enabled)
CLEAR(enabled)
SET(pending)
CLEAR(pending)
PLAIN(priority, 0xf8f8f8f8)
PLAIN(config, 0xaaaaaaaa)

static const struct reg {
    uint32_t base, words;
    handler *handler;
} registers[] = {
    {0x000, 1, control},
    {0x004, 1, typer},
    {0x100, WORDS, set_enabled},
    {0x180, WORDS, clear_enabled},
    {0x200, WORDS, set_pending},
    {0x280, WORDS, clear_pending},
    {0x400, IRQS / 4, plain_priority},
    {0xc00, IRQS / 16, plain_config},
};

static struct distributor distributor;

static enum outcome access(struct distributor *d, const struct access *a, uint32_t *value)
{
    for (size_t i = 0; i < sizeof registers / sizeof *registers; i++) {
        const struct reg *r = &registers[i];
        if (r->base <= a->offset && a->offset < r->base + r->words * 4) {
            *value = r->handler(d, (a->offset - r->base) >> 2, a);
            return HANDLED;
        }
    }
    return UNHANDLED;
}

uint64_t kernel(uint64_t data, uint64_t size, uint64_t out, uint64_t seed)
{
    uint64_t state = seed, check = 0;
    for (uint64_t i = 0; i < size; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        struct access a = {
            .offset = (state >> 40 & 0x3fc) | (state >> 33 & 0xc00),
            .write = state >> 63,
            .value = state >> 8,
        };
        uint32_t value;
        if (access(&distributor, &a, &value) == HANDLED)
            check = check * 31 + value;
    }
    return check;
}
