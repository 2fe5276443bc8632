// SPDX-License-Identifier: GPL-2.0
/*
 * A plugin of QEMU's TCG, for harness/bench: how many instructions the guest has
 * executed whenever it comes to certain addresses. Unlike the clocks of a guest
 * this count knows no time: it stands still while the CPU sleeps, and is not
 * rounded to ticks. For guests with one CPU.
 *
 * Arguments: out=FILE, and NAME=ADDRESS for each address, that of the first
 * instruction of a function. Each time the guest comes there, a line "NAME COUNT"
 * goes to FILE.
 *
 * The interface is declared here because Debian does not package qemu-plugin.h.
 * Only calls are used that have been the same since QEMU 4.2; PLUGIN_VERSION is
 * what the QEMU that loads the plugin wants to be told.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
		void (*cb)(unsigned int vcpu, void *data),
		enum qemu_plugin_cb_flags flags, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);

#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = PLUGIN_VERSION;

static struct {
	const char *name;
	uint64_t address;
} marks[16];
static unsigned int nr_marks;
static uint64_t count;
static FILE *out;

static void tb_exec(unsigned int vcpu, void *data)
{
	count += (uintptr_t)data;
}

static void mark(unsigned int vcpu, void *data)
{
	fprintf(out, "%s %llu\n", (const char *)data, (unsigned long long)count);
	fflush(out);
}

/* A function is called, so that its first instruction begins a block. */
static void tb_trans(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	for (unsigned int i = 0; i < nr_marks; i++) {
		if (marks[i].address == qemu_plugin_tb_vaddr(tb))
			qemu_plugin_register_vcpu_tb_exec_cb(tb, mark,
				QEMU_PLUGIN_CB_NO_REGS, (void *)marks[i].name);
	}
	qemu_plugin_register_vcpu_tb_exec_cb(tb, tb_exec, QEMU_PLUGIN_CB_NO_REGS,
		(void *)(uintptr_t)qemu_plugin_tb_n_insns(tb));
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc,
			       char **argv)
{
	for (int i = 0; i < argc; i++) {
		char *arg = strdup(argv[i]), *value = strchr(arg, '=');

		if (!value)
			return -1;
		*value++ = '\0';
		if (!strcmp(arg, "out")) {
			out = fopen(value, "w");
			continue;
		}
		if (nr_marks == sizeof(marks) / sizeof(*marks))
			return -1;
		marks[nr_marks].name = arg;
		marks[nr_marks++].address = strtoull(value, NULL, 16);
	}
	if (!out)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, tb_trans);
	return 0;
}
