#include "files.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OK DJI_ERROR_SYSTEM_MODULE_CODE_SUCCESS
#define FAILED DJI_ERROR_SYSTEM_MODULE_CODE_SYSTEM_ERROR

static T_DjiReturnCode code_of(int result)
{
    return result == 0 ? OK : FAILED;
}

static T_DjiReturnCode file_open(const char *name, const char *mode, T_DjiFileHandle *handle)
{
    FILE *file = fopen(name, mode);
    *handle = file;
    return file ? OK : FAILED;
}

static T_DjiReturnCode file_close(T_DjiFileHandle handle)
{
    return code_of(fclose(handle));
}

static T_DjiReturnCode file_write(T_DjiFileHandle handle, const uint8_t *bytes, uint32_t length,
                                  uint32_t *written)
{
    *written = (uint32_t)fwrite(bytes, 1, length, handle);
    return *written == length ? OK : FAILED;
}

static T_DjiReturnCode file_read(T_DjiFileHandle handle, uint8_t *bytes, uint32_t length,
                                 uint32_t *count)
{
    *count = (uint32_t)fread(bytes, 1, length, handle);
    return ferror((FILE *)handle) ? FAILED : OK;
}

static T_DjiReturnCode file_seek(T_DjiFileHandle handle, uint32_t offset)
{
    return code_of(fseeko(handle, (off_t)offset, SEEK_SET));
}

static T_DjiReturnCode file_sync(T_DjiFileHandle handle)
{
    return fflush(handle) == 0 && fsync(fileno(handle)) == 0 ? OK : FAILED;
}

static T_DjiTime time_of(time_t when)
{
    struct tm parts = {0};
    gmtime_r(&when, &parts);
    return (T_DjiTime){
        .year = (uint16_t)(parts.tm_year + 1900),
        .month = (uint8_t)(parts.tm_mon + 1),
        .day = (uint8_t)parts.tm_mday,
        .hour = (uint8_t)parts.tm_hour,
        .minute = (uint8_t)parts.tm_min,
        .second = (uint8_t)parts.tm_sec,
    };
}

static T_DjiReturnCode file_stat(const char *path, T_DjiFileInfo *info)
{
    struct stat about;
    memset(info, 0, sizeof *info);
    if (strlen(path) >= sizeof info->path || stat(path, &about) != 0)
        return FAILED;
    strcpy(info->path, path);
    info->isDir = S_ISDIR(about.st_mode);
    /* The interface has no room for more. */
    info->size = about.st_size > UINT32_MAX ? UINT32_MAX : (uint32_t)about.st_size;
    /* Linux tells no time of creation this way; that of the last change comes nearest. */
    info->createTime = time_of(about.st_ctime);
    info->modifyTime = time_of(about.st_mtime);
    return OK;
}

struct directory {
    DIR *stream;
    char path[DJI_FILE_PATH_SIZE_MAX];
};

static T_DjiReturnCode dir_open(const char *path, T_DjiDirHandle *handle)
{
    struct directory *directory = calloc(1, sizeof *directory);
    if (!directory || strlen(path) >= sizeof directory->path ||
        !(directory->stream = opendir(path))) {
        free(directory);
        return FAILED;
    }
    strcpy(directory->path, path);
    *handle = directory;
    return OK;
}

static T_DjiReturnCode dir_close(T_DjiDirHandle handle)
{
    struct directory *directory = handle;
    int result = closedir(directory->stream);
    free(directory);
    return code_of(result);
}

static T_DjiReturnCode dir_read(T_DjiDirHandle handle, T_DjiFileInfo *info)
{
    struct directory *directory = handle;
    const struct dirent *entry;
    while ((entry = readdir(directory->stream))) {
        char path[sizeof directory->path + NAME_MAX + 2];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", directory->path, entry->d_name);
        if (file_stat(path, info) == OK)
            return OK;
    }
    return FAILED;
}

static T_DjiReturnCode dir_make(const char *path)
{
    return code_of(mkdir(path, 0755));
}

static T_DjiReturnCode file_remove(const char *path)
{
    return code_of(remove(path));
}

static T_DjiReturnCode file_rename(const char *from, const char *to)
{
    return code_of(rename(from, to));
}

T_DjiReturnCode files_register(void)
{
    static const T_DjiFileSystemHandler handler = {
        .FileOpen = file_open,
        .FileClose = file_close,
        .FileWrite = file_write,
        .FileRead = file_read,
        .FileSeek = file_seek,
        .FileSync = file_sync,
        .DirOpen = dir_open,
        .DirClose = dir_close,
        .DirRead = dir_read,
        .Mkdir = dir_make,
        .Unlink = file_remove,
        .Rename = file_rename,
        .Stat = file_stat,
    };
    return DjiPlatform_RegFileSystemHandler(&handler);
}
