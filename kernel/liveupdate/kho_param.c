// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the command line says of KHO as a whole: kho= and kho_format=.
 *
 * Copyright (C) 2023 Alexander Graf <graf@amazon.com>
 */

#include <linux/errno.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/kexec_handover.h>
#include <linux/kstrtox.h>
#include <linux/string.h>

#include "kexec_handover_internal.h"

bool kho_enable __ro_after_init = IS_ENABLED(CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT);

/*
 * Set by "kho_format=v4": write "kho-v4", because the next kernel may know no
 * other format, for example if an update has to be rolled back.
 */
bool kho_write_v4 __ro_after_init;

static int __init kho_parse_format(char *p)
{
	if (p && !strcmp(p, "v4"))
		kho_write_v4 = true;
	else if (!p || strcmp(p, "v5"))
		return -EINVAL;
	return 0;
}
early_param("kho_format", kho_parse_format);

bool kho_is_enabled(void)
{
	return kho_enable;
}
EXPORT_SYMBOL_GPL(kho_is_enabled);

static int __init kho_parse_enable(char *p)
{
	return kstrtobool(p, &kho_enable);
}
early_param("kho", kho_parse_enable);
