/* The developer's credentials, from a file: an argument would be everybody's to read. */
#ifndef PSDK_APP_CREDENTIALS_H
#define PSDK_APP_CREDENTIALS_H

#include <stdbool.h>

#include "dji_core.h"

/* Fills in name, id, key, licence and account. Says what is wrong where it fails. */
bool credentials_read(const char *path, T_DjiUserInfo *user);

#endif
