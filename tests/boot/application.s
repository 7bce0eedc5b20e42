@ An application that says in which state it finds the chip: ST-21.
    .syntax unified
    .thumb
    .global main
    .word 0x20010000
    .word main + 1
main:
    ldr r4, =0x40011000         @ USART1
    ldr r0, =0x200c             @ CR1: enabled, sends
    str r0, [r4, #12]
    mrs r0, msp
    bl print
    ldr r1, =0xE000ED08         @ VTOR
    ldr r0, [r1]
    bl print
    mrs r0, primask
    bl print
    mrs r0, control
    bl print
    mrs r0, ipsr
    bl print
    movs r0, #10
    str r0, [r4, #4]
stop:
    wfi
    b stop

print:                          @ r0 as eight digits and a space
    movs r2, #8
digit:
    lsrs r1, r0, #28
    cmp r1, #10
    ite lo
    addlo r1, #48
    addhs r1, #87
    str r1, [r4, #4]
    lsls r0, r0, #4
    subs r2, #1
    bne digit
    movs r1, #32
    str r1, [r4, #4]
    bx lr
    .ltorg
