/* The stand-in against the rows of docs/wire/vendor-library.md. Each story has a process of its own, since
 * the library is one for a process; the test is the host, at the other end of a socket that stands
 * for the serial line. Arguments choose stories by their beginning. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "application.h"

static void probe_cycle(void)
{
    static const struct {
        uint8_t from, to;
        unsigned rate;
    } cycle[] = {
        {0xCA, 0x03, 460800},  {0xE5, 0x65, 115200}, {0xE5, 0x65, 230400}, {0xE5, 0x65, 460800},
        {0xE5, 0x65, 921600},  {0xE5, 0x65, 1000000}, {0xCA, 0x03, 115200}, {0xCA, 0x03, 230400},
        {0xCA, 0x03, 460800},  {0xCA, 0x03, 921600}, {0xCA, 0x03, 1000000}, {0xEA, 0x03, 115200},
        {0xEA, 0x03, 230400},  {0xEA, 0x03, 460800}, {0xEA, 0x03, 921600}, {0xEA, 0x03, 1000000},
        {0xCA, 0x03, 460800},
    };
    double began = now_ms();
    start_core();
    for (size_t step = 0; step < sizeof cycle / sizeof *cycle; step++) {
        for (int i = 0; i < 5; i++) {
            struct wire_frame probe;
            CHECK(hear(&probe, now_ms() + 2000));
            CHECK(probe.sender == cycle[step].from && probe.receiver == cycle[step].to);
            CHECK(host_rate == cycle[step].rate);
        }
    }
    double took = now_ms() - began;
    CHECK(took > 2900 && took < 4500);
}

static void ports(void)
{
    static const struct {
        uint8_t from, to, type;
        T_DjiReturnCode core, init;
        uint8_t address;
    } rows[] = {
        {0xE5, 0x65, 60, OK, OK, 0x13},  {0xE5, 0x65, 89, OK, OK, 0x13},
        {0xE5, 0x65, 103, OK, OK, 0x13}, {0xCA, 0x03, 89, OK, OK, 0xCA},
        {0xE5, 0x65, 67, OK, OK, 0x73},  {0xCA, 0x03, 68, OK, OK, 0x73},
        {0xE5, 0x65, 77, OK, OK, 0x73},  {0xCA, 0x03, 79, OK, OK, 0x73},
        {0xCA, 0x03, 80, OK, OK, 0x73},  {0xCA, 0x03, 91, OK, OK, 0x73},
        {0xCA, 0x03, 99, OK, OK, 0x73},  {0xCA, 0x03, 100, OK, OK, 0x73},
        {0xE5, 0x65, 78, E3, E3, 0},     {0xE5, 0x65, 91, E3, E3, 0},
        {0xE5, 0x65, 99, E3, E3, 0},     {0xE5, 0x65, 100, E3, E3, 0},
        {0xEA, 0x03, 78, OK, OK, 0xEA},  {0xEA, 0x03, 91, OK, E0, 0},
        {0xCA, 0x03, 60, FF, E3, 0},     {0xCA, 0x03, 78, FF, E3, 0},
        {0xCA, 0x03, 103, FF, E3, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        pid_t child = fork();
        if (child == 0) {
            host_make_line();
            start_core();
            be_aircraft(rows[i].from, rows[i].to, rows[i].type);
            CHECK(await_core() == rows[i].core);
            CHECK(init_as(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP, 1) == rows[i].init);
            CHECK(DjiUpgrade_RegHandler(&handler) == OK);
            CHECK(DjiUpgrade_EnableLocalUpgrade() == OK);
            struct wire_frame push;
            bool is_present = hear_push(0xED, 0x82, &push, 2500);
            CHECK(is_present == (rows[i].init == OK));
            payload_address = rows[i].address;
            if (is_present) {
                CHECK(push.sender == payload_address && push.length == 64);
                CHECK(memcmp(push.payload, "psdk\0", 5) == 0);
                CHECK(tells_version(1, 2, 3, 4));
            }
            if (payload_address != 0x13) {
                payload_address = 0x13;
                CHECK(is_silent(0x4F, BYTES(4)));
            }
            if (failures > 0)
                fprintf(stderr, "ports: %02X to %02X, type %d\n", rows[i].from, rows[i].to,
                        rows[i].type);
            _exit(failures > 0);
        }
    }
    int status;
    while (wait(&status) > 0)
        CHECK(status == 0);
}

static void no_answer_is_taken_of_old_types(void)
{
    start_core();
    static const uint8_t old[] = {44, 45, 46, 93, 0};
    for (size_t i = 0; i < sizeof old; i++)
        be_aircraft(0xE5, 0x65, old[i]);
    sleep_ms(50);
    CHECK(init_as(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP, 1) == E3);
    be_aircraft(0xE5, 0x65, 60);
    CHECK(await_core() == OK);
}

static void wants_more_of_a_mavic3(void)
{
    setenv("PSDK_STAND_IN_WANTS_MORE", "1", 1);
    start_core();
    be_aircraft(0xCA, 0x03, 77);
    CHECK(await_core() == OK);
    payload_address = 0x73;
    CHECK(init_as(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP, 1) == OK);
    CHECK(DjiUpgrade_EnableLocalUpgrade() == OK);
    struct wire_frame push;
    CHECK(hear_push(0xED, 0x82, &push, 2500));
    CHECK(is_silent(0x4F, BYTES(4)));
}

static void codes_of_the_start(void)
{
    CHECK(init_as(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP, 1) == E3);
    CHECK(DjiUpgrade_RegHandler(&handler) == OK);
    CHECK(DjiUpgrade_EnableLocalUpgrade() == OK);
    for (int missing = 0; missing < 4; missing++) {
        T_DjiUpgradeHandler less = handler;
        memset((char *)&less + (size_t)missing * sizeof less.CheckFirmware, 0,
               sizeof less.CheckFirmware);
        CHECK(DjiUpgrade_RegHandler(&less) == E3);
    }
    start_all(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP);
    CHECK(root_stack == 4096 && has_linker);
    CHECK(DjiUpgrade_Init(NULL) == E3);
    CHECK(init_as((E_DjiFirmwareTransferType)2, 1) == E3);
    T_DjiUpgradeConfig less = config(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP, 1);
    less.firmwareTransferInfo.dcftpFileTransferOpt.finish = NULL;
    CHECK(DjiUpgrade_Init(&less) == E3);
    CHECK(tells_version(1, 2, 3, 4));
    CHECK(DjiCore_SetFirmwareVersion((T_DjiFirmwareVersion){9, 9, 9, 9}) == OK);
    CHECK(tells_version(1, 2, 3, 4));
    CHECK(init_as(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP, 200) == DUPLICATE);
    CHECK(tells_version(200, 2, 3, 4));
    CHECK(is_silent(0x4F, BYTES(3)));
    CHECK(entered + started + transferred + finished + checked + begun + ended == 0);
    CHECK(init_core() == DUPLICATE);
}

static void silent_without_init(void)
{
    start_core();
    be_aircraft(0xE5, 0x65, 60);
    CHECK(await_core() == OK);
    payload_address = 0x13;
    CHECK(DjiUpgrade_RegHandler(&handler) == OK);
    CHECK(DjiUpgrade_EnableLocalUpgrade() == OK);
    struct wire_frame frame;
    CHECK(!hear_push(0xED, 0x82, &frame, 1500));
    CHECK(is_silent(0x4F, BYTES(4)));
}

static void init_before_the_identity_is_verified(void)
{
    setenv("PSDK_STAND_IN_VERIFY_MS", "never", 1);
    start_core();
    be_aircraft(0xE5, 0x65, 60);
    payload_address = 0x13;
    sleep_ms(50);
    CHECK(init_as(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP, 1) == OK);
    CHECK(DjiUpgrade_RegHandler(&handler) == OK);
    T_DjiUpgradeState end = {DJI_UPGRADE_STAGE_END, .upgradeEndInfo = {1}};
    CHECK(DjiUpgrade_PushUpgradeState(&end) == OK);
    struct wire_frame push;
    CHECK(hear_push(0xED, 0x42, &push, SOON));
    struct wire_frame control = request(0x41, "\x04", 1);
    say(&control);
    sleep_ms(50);
    CHECK(ended == 1);
    /* Nobody is told of a payload that has not enabled local upgrade. */
    CHECK(!hear_push(0xED, 0x82, &push, 1500));
}

static void presence(void)
{
    start_all(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP);
    struct wire_frame push;
    CHECK(hear_push(0xED, 0x82, &push, 1500));
    double first = now_ms();
    CHECK(hear_push(0xED, 0x82, &push, 1500));
    double gap = now_ms() - first;
    CHECK(gap > 1050 && gap < 1500);
    /* It stops while a callback blocks, and goes on after it. */
    block_ms = 2500;
    struct wire_frame asked = request(0x83, NULL, 0), answer;
    say(&asked);
    CHECK(!hear_push(0xED, 0x82, &push, 2300));
    CHECK(hear_answer(&asked, &answer, 1000));
    CHECK(hear_push(0xED, 0x82, &push, SOON));
}

static void repetitions_multiply(void)
{
    start_all(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP);
    block_ms = 300;
    struct wire_frame asked = request(0x83, NULL, 0), answer;
    for (int i = 0; i < 5; i++)
        say(&asked);
    for (int i = 0; i < 5; i++)
        CHECK(hear_answer(&asked, &answer, 600));
    CHECK(entered == 5);
    CHECK(!hear_answer(&asked, &answer, 600));
}

static void an_upgrade(void)
{
    uint8_t name[6 + 255] = {1, 0x78, 0x56, 0x34, 0x12, 255}, md5[17] = {3}, data[5 + 1005] = {2};
    memset(name + 6, 'n', 255);
    for (int i = 0; i < 16; i++)
        md5[1 + i] = (uint8_t)(0xA0 + i);
    memset(data + 5, 'd', 1005);
    start_all(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP);
    CHECK(ANSWERS(0x2A, BYTES(2, 0, 0, 0, 0, 9), 1, 0, 0, 0, 0, 0, 0, 0, 0));
    CHECK(ANSWERS(0x83, BYTES(1), 0xC7, 2, 0, 1, 2, 0, 0, 0, 0, 0, 0));
    CHECK(answers(0x2A, name, sizeof name, BYTES(0, 0, 1, 1, 0, 1, 0)));
    CHECK(file_info.fileSize == 0x12345678 && strlen(file_info.fileName) == 255);
    CHECK(ANSWERS(0x2A, BYTES(2, 0, 0, 0, 0, 9), 0, 0, 0, 0, 0, 1, 0, 0, 0));
    CHECK(transferred == 1 && chunk_length == 1 && chunk[0] == 9);
    /* Neither a repetition nor what skips ahead reaches the callback. */
    CHECK(ANSWERS(0x2A, BYTES(2, 0, 0, 0, 0, 9), 0, 0, 0, 0, 0, 1, 0, 0, 0));
    CHECK(ANSWERS(0x2A, BYTES(2, 5, 0, 0, 0, 9), 0, 0, 0, 0, 0, 1, 0, 0, 0));
    CHECK(transferred == 1);
    fail_transfer = true;
    CHECK(ANSWERS(0x2A, BYTES(2, 1, 0, 0, 0, 9), 0, 0, 0, 0, 0, 1, 0, 0, 0));
    fail_transfer = false;
    CHECK(ANSWERS(0x2A, BYTES(2, 1, 0, 0, 0, 9), 0, 1, 0, 0, 0, 2, 0, 0, 0));
    CHECK(transferred == 3);
    data[1] = 2;
    CHECK(answers(0x2A, data, sizeof data, BYTES(0, 2, 0, 0, 0, 3, 0, 0, 0)));
    CHECK(chunk_length == 1005 && chunk[1004] == 'd');
    for (unsigned times = 1; times <= 2; times++) {
        CHECK(answers(0x2A, md5, sizeof md5, BYTES(0)));
        CHECK(finished == times);
    }
    CHECK(ANSWERS(0x84, BYTES(0), 0));
    push_inside = true;
    struct wire_frame asked = request(0x85, NULL, 0), heard;
    say(&asked);
    /* Two callbacks, each with a push to both, and then the answer. */
    unsigned pushes = 0;
    while (hear(&heard, now_ms() + SOON) && !(heard.flags & WIRE_ANSWER))
        pushes += heard.id == 0x42;
    CHECK(pushes == 4 && heard.length == 1 && heard.payload[0] == 0x06);
    push_inside = false;
    CHECK(is_silent(0x41, BYTES(5)) && ended == 0);
    CHECK(is_silent(0x41, BYTES(4)) && ended == 1);
    CHECK(checked == 1 && begun == 1 && wrong_thread == 0);
    struct wire_frame service = request(0x45, NULL, 0);
    service.set = 0x3C;
    say(&service);
    CHECK(hear_answer(&service, &heard, SOON) && heard.length == 2);
}

static void failing_callbacks(void)
{
    uint8_t md5[17] = {3};
    for (int i = 0; i < 16; i++)
        md5[1 + i] = (uint8_t)(0xA0 + i);
    start_all(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP);
    fail_enter = fail_start = fail_finish = fail_check = fail_begin = true;
    CHECK(ANSWERS(0x83, BYTES(1), 0xCD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    CHECK(ANSWERS(0x2A, BYTES(1, 1, 0, 0, 0, 1, 'n'), 1));
    CHECK(ANSWERS(0x2A, BYTES(2, 0, 0, 0, 0, 9), 1, 0, 0, 0, 0, 0, 0, 0, 0));
    CHECK(answers(0x2A, md5, sizeof md5, BYTES(1)));
    CHECK(ANSWERS(0x85, BYTES(0), 0xF2) && begun == 0);
    fail_check = fail_start = false;
    CHECK(ANSWERS(0x85, BYTES(0), 0xFF));
    CHECK(ANSWERS(0x2A, BYTES(1, 1, 0, 0, 0, 1, 'n'), 0, 0, 1, 1, 0, 1, 0));
    CHECK(transferred == 0 && started == 2 && checked == 2 && begun == 1);
    fail_start = true;
    CHECK(ANSWERS(0x2A, BYTES(1, 1, 0, 0, 0, 1, 'n'), 1));
    CHECK(ANSWERS(0x2A, BYTES(2, 0, 0, 0, 0, 9), 1, 0, 0, 0, 0, 0, 0, 0, 0));
}

static void ftp(void)
{
    uint8_t where[71] = {[5] = 0x45, [6] = 0x23};
    start_all(DJI_FIRMWARE_TRANSFER_TYPE_FTP);
    CHECK(ANSWERS(0x83, BYTES(1), 0xC7, 1, 0, 1, 2, 0, 0, 0, 0, 0, 0));
    CHECK(is_silent(0x2A, BYTES(1, 1, 0, 0, 0, 1, 'n')));
    CHECK(answers(0x84, "", 1, where, sizeof where));
    CHECK(ANSWERS(0x85, BYTES(0), 0x06));
    CHECK(started + transferred + finished == 0);
}

static bool pushes(E_DjiUpgradeStage stage, uint8_t value, const uint8_t *wanted, size_t length)
{
    static const uint8_t to[] = {0xED, 0x2A};
    T_DjiUpgradeState state = {.upgradeStage = stage};
    if (stage == DJI_UPGRADE_STAGE_END)
        state.upgradeEndInfo.upgradeEndState = (E_DjiUpgradeEndState)value;
    else
        state.upgradeOngoingInfo.upgradeProgress = value;
    CHECK(DjiUpgrade_PushUpgradeState(&state) == OK);
    for (int i = 0; i < 2; i++) {
        struct wire_frame push;
        do
            if (!hear(&push, now_ms() + SOON))
                return false;
        while (push.id == 0x82);
        if (push.receiver != to[i] || push.sender != 0x13 || push.id != 0x42 ||
            push.length != length || memcmp(push.payload, wanted, length) != 0)
            return false;
    }
    return true;
}

static void usb_bulk(void)
{
    over_usb = true;
    start_all(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP);
    CHECK(tells_version(1, 2, 3, 4));
    CHECK(ANSWERS(0x83, BYTES(1), 0xC7, 2, 0, 1, 2, 0, 0, 0, 0, 0, 0));
}

static void statuses(void)
{
    start_all(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP);
    CHECK(pushes(DJI_UPGRADE_STAGE_ONGOING, 42, BYTES(3, 42, 0, 0, 0, 0, 0, 0, 0, 0, 0)));
    CHECK(pushes(DJI_UPGRADE_STAGE_ONGOING, 0, BYTES(3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)));
    CHECK(pushes(DJI_UPGRADE_STAGE_ONGOING, 1, BYTES(3, 1, 0)));
    CHECK(pushes(DJI_UPGRADE_STAGE_DEVICE_REBOOT, 30, BYTES(6, 30, 0, 0, 0, 0, 0, 0, 0, 0, 0)));
    CHECK(pushes(DJI_UPGRADE_STAGE_DEVICE_REBOOT, 1, BYTES(6, 1, 0)));
    CHECK(pushes(DJI_UPGRADE_STAGE_END, 1, BYTES(4, 1, 0)));
    CHECK(pushes(DJI_UPGRADE_STAGE_END, 2, BYTES(4, 2, 1, 0x13, 0, 0, 0, 0, 0, 0, 0)));
    CHECK(pushes(DJI_UPGRADE_STAGE_END, 0, BYTES(4, 0, 1, 0x13, 0, 0, 0, 0, 0, 0, 0)));
    CHECK(DjiUpgrade_PushUpgradeState(&(T_DjiUpgradeState){0}) == OK);
    struct wire_frame push;
    CHECK(!hear_push(0xED, 0x42, &push, 200));
}

#define PUSHERS 4
#define PUSHES 5000

static void *push_much(void *unused)
{
    T_DjiUpgradeState state = {DJI_UPGRADE_STAGE_ONGOING, .upgradeOngoingInfo = {42}};
    for (int i = 0; i < PUSHES; i++)
        CHECK(DjiUpgrade_PushUpgradeState(&state) == OK);
    return unused;
}

static void pushes_of_many_threads(void)
{
    pthread_t threads[PUSHERS];
    struct wire_frame push;
    int count = 0;
    start_all(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP);
    for (int i = 0; i < PUSHERS; i++)
        pthread_create(&threads[i], NULL, push_much, NULL);
    while (count < 2 * PUSHERS * PUSHES && hear(&push, now_ms() + 3000))
        count += push.id == 0x42 && push.length == 11 && push.payload[1] == 42;
    CHECK(count == 2 * PUSHERS * PUSHES);
    for (int i = 0; i < PUSHERS; i++)
        pthread_join(threads[i], NULL);
}

static void a_port_that_cannot_be_opened(void)
{
    register_hooks();
    host_cannot_open = true;
    double began = now_ms();
    CHECK(init_core() == EC);
    CHECK(now_ms() - began >= 95 && now_ms() - began < 1000);
    host_cannot_open = false;
    start_all(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP);
    CHECK(tells_version(1, 2, 3, 4));
}

static bool push_kills(void)
{
    pid_t child = fork();
    if (child == 0) {
        /* What it says on the way is no news here. */
        close(STDERR_FILENO);
        alarm(10);
        signal(SIGABRT, SIG_DFL);
        DjiUpgrade_PushUpgradeState(&(T_DjiUpgradeState){DJI_UPGRADE_STAGE_END, {{1}}});
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void a_push_too_early_is_the_end(void)
{
    CHECK(push_kills());
    start_core();
    be_aircraft(0xE5, 0x65, 60);
    CHECK(await_core() == OK);
    CHECK(push_kills());
    CHECK(init_as(DJI_FIRMWARE_TRANSFER_TYPE_DCFTP, 1) == OK);
    CHECK(!push_kills());
}

static const struct {
    const char *name;
    void (*run)(void);
} stories[] = {
    {"probe_cycle", probe_cycle},
    {"ports", ports},
    {"no_answer_is_taken_of_old_types", no_answer_is_taken_of_old_types},
    {"wants_more_of_a_mavic3", wants_more_of_a_mavic3},
    {"codes_of_the_start", codes_of_the_start},
    {"silent_without_init", silent_without_init},
    {"init_before_the_identity_is_verified", init_before_the_identity_is_verified},
    {"presence", presence},
    {"repetitions_multiply", repetitions_multiply},
    {"an_upgrade", an_upgrade},
    {"failing_callbacks", failing_callbacks},
    {"ftp", ftp},
    {"usb_bulk", usb_bulk},
    {"statuses", statuses},
    {"pushes_of_many_threads", pushes_of_many_threads},
    {"a_port_that_cannot_be_opened", a_port_that_cannot_be_opened},
    {"a_push_too_early_is_the_end", a_push_too_early_is_the_end},
};

int main(int argc, char **argv)
{
    int failed = 0, ran = 0;
    /* A line that waits in the buffer would be every child's, too. */
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof stories / sizeof *stories; i++) {
        story = stories[i].name;
        if (argc > 1 && strncmp(story, argv[1], strlen(argv[1])) != 0)
            continue;
        pid_t child = fork();
        if (child == 0) {
            host_make_line();
            stories[i].run();
            /* At once: the library's threads run to the end. */
            _exit(failures > 0);
        }
        int status = 1;
        waitpid(child, &status, 0);
        printf("%s: %s\n", story, status == 0 ? "ok" : "FAILED");
        failed += status != 0;
        ran++;
    }
    return failed > 0 || ran == 0;
}
