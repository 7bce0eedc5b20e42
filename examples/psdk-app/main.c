/* A payload application that does nothing but what an upgrade needs: it starts the vendor's library,
 * and hands its upgrade callbacks to uplift. Put what your payload does where the comment says so. */
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app.h"
#include "credentials.h"
#include "dji_core.h"
#include "dji_logger.h"
#include "files.h"
#include "osal.h"
#include "uart.h"
#include "uplift_psdk.h"

/* From CMakeLists.txt: the one place that the version and the product have. */
#if !defined(APP_VERSION_TEXT) || !defined(APP_VERSION) || !defined(APP_PRODUCT)
#error "compile it with CMake"
#endif

#define OK DJI_ERROR_SYSTEM_MODULE_CODE_SUCCESS
/* Between two tries to start the bridge, where the library refused it. */
#define RETRY_S 10

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

void say(int level, const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "<%d>%s\n", level, line);
}

/* The library's own lines. */
static T_DjiReturnCode print_line(const uint8_t *line, uint16_t length)
{
    return fwrite(line, 1, length, stderr) == length ? OK : DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR;
}

static void print_bridge(void *context, enum uplift_psdk_level level, const char *line)
{
    static const int levels[] = {[UPLIFT_PSDK_ERROR] = 3, [UPLIFT_PSDK_WARNING] = 4,
                                 [UPLIFT_PSDK_INFO] = 6};
    (void)context;
    say(levels[level], "%s", line);
}

static void park(void *context, uint16_t ms)
{
    (void)context;
    /* Park a gimbal, close files: what must not be interrupted ends here, within `ms`. */
    say(6, "there will be a restart, in at most %u ms", ms);
}

/* The library is not asked to end: what does that can't be relied on. */
static void leave(int signal)
{
    (void)signal;
    _exit(0);
}

static void require(T_DjiReturnCode code, const char *what)
{
    if (code == OK)
        return;
    say(3, "%s: the library says %llX", what, (unsigned long long)code);
    /* The next start tries again: systemd's Restart=. */
    _exit(1);
}

static enum uplift_psdk_transfer transfer_of(const char *word)
{
    if (strcmp(word, "dcftp") == 0)
        return UPLIFT_PSDK_TRANSFER_DCFTP;
    return strcmp(word, "ftp") == 0 ? UPLIFT_PSDK_TRANSFER_FTP : UPLIFT_PSDK_TRANSFER_AUTO;
}

static void start_library(const struct options *options)
{
    static T_DjiUserInfo user;
    static T_DjiLoggerConsole console = {.func = print_line,
                                         .consoleLevel = DJI_LOGGER_CONSOLE_LOG_LEVEL_INFO};
    if (!credentials_read(options->credentials, &user))
        exit(1);
    /* The library's field has room for seven digits, without an end. */
    memcpy(user.baudRate, options->baud, strnlen(options->baud, sizeof user.baudRate));
    require(osal_register(), "the operating system's hooks");
    require(DjiLogger_AddConsole(&console), "the log");
    require(link_register(options), "the link's hooks");
    require(files_register(), "the file system's hooks");
    if (options->device)
        uart_await();
    /* Blocks until the aircraft is there and knows this application. */
    require(DjiCore_Init(&user), "the start");
    explicit_bzero(&user, sizeof user);
    require(DjiCore_SetAlias(APP_PRODUCT), "the alias");
    require(DjiCore_SetSerialNumber(options->serial_number), "the serial number");
}

/* The version is the bridge's to tell: DjiCore_SetFirmwareVersion must not be called here. */
static bool start_bridge(const struct options *options)
{
    struct uplift_psdk_config config;
    memset(&config, 0, sizeof config);
    config.socket_path = options->socket;
    config.application = "psdk-app " APP_VERSION_TEXT;
    config.fallback_version = (T_DjiFirmwareVersion){APP_VERSION};
    config.transfer = transfer_of(options->transfer);
    config.log = print_bridge;
    config.about_to_restart = park;
    T_DjiReturnCode code = uplift_psdk_start(&config);
    if (code != OK) {
        say(4, "no upgrades for now: the library says %llX", (unsigned long long)code);
        return false;
    }
    /* DjiCore_Init has returned 0: the aircraft is there. */
    uplift_psdk_aircraft_seen();
    return true;
}

static void run(const struct options *options)
{
    bool has_bridge = start_bridge(options);
    /* Start your payload's own modules here: camera, gimbal, widgets. */
    require(DjiCore_ApplicationStart(), "the application's start");
    say(6, "psdk-app V" APP_VERSION_TEXT " runs");
    for (unsigned second = 1; !link_is_lost(); second++) {
        sleep_ms(1000);
        if (!has_bridge && second % RETRY_S == 0)
            has_bridge = start_bridge(options);
    }
    say(3, "the link to the aircraft is gone");
    _exit(1);
}

static const char usage[] =
    "psdk-app --credentials FILE [OPTIONS]\n"
    "\n"
    "  --credentials FILE    app_name, app_id, app_key, app_license and account, a line each: NAME = VALUE\n"
    "  --device PATH         serial port of the aircraft\n"
    "  --baud RATE           115200, 230400, 460800, 921600 or 1000000 [921600]\n"
    "  --serial-number TEXT  of this payload [0]\n"
    "  --transfer WORD       auto, dcftp or ftp [auto]\n"
    "  --socket PATH         of uplift's bridge [" UPLIFT_PSDK_SOCKET "]\n"
    "  --usb VID:PID         of the gadget or the network adapter, in hexadecimal\n"
    "  --usb-channel INTERFACE,IN,OUT[,READ_FILE,WRITE_FILE]\n"
    "                        a USB bulk channel; may be given again\n"
    "  --interface NAME      of the network to the aircraft [eth0]\n"
    "  --version             tells the version\n";

static void refuse(const char *why)
{
    fprintf(stderr, "%s\n\n%s", why, usage);
    exit(2);
}

static void read_usb(const char *text, struct options *options)
{
    unsigned vid, pid;
    if (sscanf(text, "%4x:%4x", &vid, &pid) != 2)
        refuse("--usb wants VID:PID");
    options->usb_vid = (uint16_t)vid;
    options->usb_pid = (uint16_t)pid;
}

/* The files stay in the argument, which is cut into pieces. */
static void read_usb_channel(char *text, struct options *options)
{
    struct usb_channel *channel = &options->usb_channels[options->usb_channel_count];
    uint16_t *const numbers[] = {&channel->interface, &channel->in, &channel->out};
    const char **const files[] = {&channel->read_file, &channel->write_file};
    if (options->usb_channel_count == MOST_USB_CHANNELS)
        refuse("too many USB channels");
    for (int i = 0; i < 3; i++) {
        char *word = strsep(&text, ",");
        if (!word || *word == '\0')
            refuse("--usb-channel wants INTERFACE,IN,OUT");
        *numbers[i] = (uint16_t)strtoul(word, NULL, 0);
    }
    for (int i = 0; i < 2; i++)
        *files[i] = strsep(&text, ",");
    options->usb_channel_count++;
}

static struct options read_options(int argc, char **argv)
{
    enum { CREDENTIALS, DEVICE, BAUD, SERIAL_NUMBER, TRANSFER, SOCKET, USB, USB_CHANNEL, INTERFACE,
           VERSION };
    static const struct option known[] = {
        {"credentials", required_argument, NULL, CREDENTIALS},
        {"device", required_argument, NULL, DEVICE},
        {"baud", required_argument, NULL, BAUD},
        {"serial-number", required_argument, NULL, SERIAL_NUMBER},
        {"transfer", required_argument, NULL, TRANSFER},
        {"socket", required_argument, NULL, SOCKET},
        {"usb", required_argument, NULL, USB},
        {"usb-channel", required_argument, NULL, USB_CHANNEL},
        {"interface", required_argument, NULL, INTERFACE},
        {"version", no_argument, NULL, VERSION},
        {0},
    };
    struct options options = {.serial_number = "0", .transfer = "auto", .baud = "921600",
                              .interface = "eth0"};
    const char **const words[] = {&options.credentials, &options.device,   &options.baud,
                                  &options.serial_number, &options.transfer, &options.socket};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == VERSION) {
            puts("psdk-app V" APP_VERSION_TEXT);
            exit(0);
        }
        if (option == USB)
            read_usb(optarg, &options);
        else if (option == USB_CHANNEL)
            read_usb_channel(optarg, &options);
        else if (option == INTERFACE)
            options.interface = optarg;
        else if (option >= CREDENTIALS && option <= SOCKET)
            *words[option] = optarg;
        else
            refuse("that is no option");
    }
    if (!options.credentials || optind < argc)
        refuse("--credentials is missing, or something is too much");
    return options;
}

int main(int argc, char **argv)
{
    const struct options options = read_options(argc, argv);
    signal(SIGTERM, leave);
    signal(SIGINT, leave);
    start_library(&options);
    run(&options);
}
