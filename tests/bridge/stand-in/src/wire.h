/* Frames of the payload link, as docs/wire/payload-link.md section 1 has them. Knows no command. */
#ifndef STAND_IN_WIRE_H
#define STAND_IN_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_SHORTEST 13
#define WIRE_LONGEST 1023
#define WIRE_LONGEST_PAYLOAD (WIRE_LONGEST - WIRE_SHORTEST)

#define WIRE_REQUEST 0x40
#define WIRE_ANSWER 0x80
#define WIRE_PUSH 0x00

struct wire_frame {
    uint8_t sender;
    uint8_t receiver;
    uint16_t sequence;
    uint8_t flags;
    uint8_t set;
    uint8_t id;
    uint16_t length; /* of the payload */
    uint8_t payload[WIRE_LONGEST_PAYLOAD];
};

/* Bytes that came and are no frame yet. */
struct wire_inbox {
    size_t count;
    uint8_t bytes[2 * WIRE_LONGEST];
};

/* Returns how long the frame is. */
size_t wire_encode(const struct wire_frame *frame, uint8_t out[WIRE_LONGEST]);

/* Where the next bytes belong, and how many there is room for: always one at least, once
 * wire_next() has said no. */
uint8_t *wire_room(struct wire_inbox *inbox, size_t *size);

bool wire_next(struct wire_inbox *inbox, struct wire_frame *frame);

void wire_put_u16(uint8_t *at, uint16_t value);
void wire_put_u32(uint8_t *at, uint32_t value);
uint16_t wire_u16(const uint8_t *at);
uint32_t wire_u32(const uint8_t *at);

#endif
