#include "wire.h"

#include <string.h>

#define START_BYTE 0x55
#define PROTOCOL 1
#define HEAD 11

void wire_put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

void wire_put_u32(uint8_t *at, uint32_t value)
{
    wire_put_u16(at, (uint16_t)value);
    wire_put_u16(at + 2, (uint16_t)(value >> 16));
}

uint16_t wire_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

uint32_t wire_u32(const uint8_t *at)
{
    return wire_u16(at) | (uint32_t)wire_u16(at + 2) << 16;
}

/* Both checksums are reflected. */
static uint16_t crc(uint16_t value, uint16_t polynomial, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        value ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            value = (uint16_t)(value & 1 ? value >> 1 ^ polynomial : value >> 1);
    }
    return value;
}

static uint8_t crc_of_start(const uint8_t *frame)
{
    return (uint8_t)crc(0x77, 0x8C, frame, 3);
}

static uint16_t crc_of_all(const uint8_t *frame, size_t count)
{
    return crc(0x3692, 0x8408, frame, count);
}

size_t wire_encode(const struct wire_frame *frame, uint8_t out[WIRE_LONGEST])
{
    size_t length = WIRE_SHORTEST + (size_t)frame->length;
    out[0] = START_BYTE;
    wire_put_u16(out + 1, (uint16_t)(length | PROTOCOL << 10));
    out[3] = crc_of_start(out);
    out[4] = frame->sender;
    out[5] = frame->receiver;
    wire_put_u16(out + 6, frame->sequence);
    out[8] = frame->flags;
    out[9] = frame->set;
    out[10] = frame->id;
    memcpy(out + HEAD, frame->payload, frame->length);
    wire_put_u16(out + HEAD + frame->length, crc_of_all(out, HEAD + (size_t)frame->length));
    return length;
}

uint8_t *wire_room(struct wire_inbox *inbox, size_t *size)
{
    *size = sizeof inbox->bytes - inbox->count;
    return inbox->bytes + inbox->count;
}

static void drop(struct wire_inbox *inbox, size_t count)
{
    inbox->count -= count;
    memmove(inbox->bytes, inbox->bytes + count, inbox->count);
}

static void decode(const uint8_t *bytes, size_t length, struct wire_frame *frame)
{
    frame->sender = bytes[4];
    frame->receiver = bytes[5];
    frame->sequence = wire_u16(bytes + 6);
    frame->flags = bytes[8];
    frame->set = bytes[9];
    frame->id = bytes[10];
    frame->length = (uint16_t)(length - WIRE_SHORTEST);
    memcpy(frame->payload, bytes + HEAD, frame->length);
}

bool wire_next(struct wire_inbox *inbox, struct wire_frame *frame)
{
    while (inbox->count > 0) {
        const uint8_t *start = memchr(inbox->bytes, START_BYTE, inbox->count);
        drop(inbox, start ? (size_t)(start - inbox->bytes) : inbox->count);
        if (inbox->count < 4)
            return false;
        uint16_t word = wire_u16(inbox->bytes + 1);
        size_t length = word & 0x3FF;
        bool good = word >> 10 == PROTOCOL && length >= WIRE_SHORTEST &&
                    inbox->bytes[3] == crc_of_start(inbox->bytes);
        if (good && inbox->count < length)
            return false;
        if (good && crc_of_all(inbox->bytes, length - 2) == wire_u16(inbox->bytes + length - 2)) {
            decode(inbox->bytes, length, frame);
            drop(inbox, length);
            return true;
        }
        /* A start byte inside of something else must not swallow the frame behind it. */
        drop(inbox, 1);
    }
    return false;
}
