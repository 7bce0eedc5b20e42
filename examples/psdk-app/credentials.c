#include "credentials.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app.h"

/* A name, "=", and the longest value, which is the licence. */
#define LONGEST_LINE 640

/* The file's owner, and whoever its owner lets in as a group: systemd gives a service its
 * credentials that way. */
static bool is_private(FILE *file, const char *path)
{
    struct stat about;
    if (fstat(fileno(file), &about) != 0)
        return false;
    mode_t others = about.st_uid == geteuid() ? S_IRWXG | S_IRWXO : S_IWGRP | S_IRWXO;
    if (S_ISREG(about.st_mode) && !(about.st_mode & others))
        return true;
    say(3, "%s may be read by others: chmod 600", path);
    return false;
}

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        *--end = '\0';
    return text;
}

struct field {
    const char *name;
    char *at;
    size_t size;
    bool is_text; /* has a zero at its end; id, key and licence may fill their fields */
};

#define FIELD_COUNT 5

static bool set(struct field *field, const char *value, const char *path)
{
    size_t length = strlen(value);
    if (length == 0 || length > field->size - field->is_text) {
        say(3, "%s: %s is empty, or longer than %zu bytes", path, field->name,
            field->size - field->is_text);
        return false;
    }
    memset(field->at, 0, field->size);
    memcpy(field->at, value, length);
    return true;
}

static bool take_line(char *line, struct field fields[FIELD_COUNT], const char *path)
{
    char *text = trim(line);
    char *equals = strchr(text, '=');
    if (*text == '\0' || *text == '#')
        return true;
    if (equals) {
        *equals = '\0';
        for (int i = 0; i < FIELD_COUNT; i++)
            if (strcmp(trim(text), fields[i].name) == 0)
                return set(&fields[i], trim(equals + 1), path);
    }
    /* Not the line itself: it may be half of a key. */
    say(3, "%s: a line that is neither app_name, app_id, app_key, app_license nor account", path);
    return false;
}

static bool take_lines(FILE *file, struct field fields[FIELD_COUNT], const char *path)
{
    char line[LONGEST_LINE];
    bool good = true;
    while (good && fgets(line, sizeof line, file)) {
        if (!strchr(line, '\n') && !feof(file)) {
            say(3, "%s: a line is too long", path);
            good = false;
        } else {
            good = take_line(line, fields, path);
        }
    }
    explicit_bzero(line, sizeof line);
    return good;
}

bool credentials_read(const char *path, T_DjiUserInfo *user)
{
    struct field fields[FIELD_COUNT] = {
        {"app_name", user->appName, sizeof user->appName, true},
        {"app_id", user->appId, sizeof user->appId, false},
        {"app_key", user->appKey, sizeof user->appKey, false},
        {"app_license", user->appLicense, sizeof user->appLicense, false},
        {"account", user->developerAccount, sizeof user->developerAccount, true},
    };
    FILE *file = fopen(path, "re");
    if (!file) {
        say(3, "%s: %s", path, strerror(errno));
        return false;
    }
    bool good = is_private(file, path) && take_lines(file, fields, path);
    fclose(file);
    for (int i = 0; good && i < FIELD_COUNT; i++) {
        if (fields[i].at[0] == '\0') {
            say(3, "%s: %s is missing", path, fields[i].name);
            good = false;
        }
    }
    return good;
}
