/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_KHO_MEMDESC_H
#define _LINUX_KHO_MEMDESC_H

/*
 * Header stub to avoid test build breakage; we don't need to actually implement
 * any KHO functions as they are not used in the tests.
 */

#endif /* _LINUX_KHO_MEMDESC_H */
