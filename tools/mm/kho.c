// SPDX-License-Identifier: GPL-2.0-only
/*
 * kho: show what kexec handover hands over, and what it was handed
 *
 * Reads the lists in /sys/kernel/debug/kho, which need CAP_SYS_ADMIN and
 * CONFIG_KEXEC_HANDOVER_DEBUGFS, and releases or forwards memory that nobody restores. See
 * Documentation/admin-guide/mm/kho.rst.
 */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TYPES	64
#define MAX_NAME	40
#define MAP_COLUMNS	64
#define MAP_LINES	24

/* One preservation. */
struct piece {
	unsigned long long start;
	unsigned long long bytes;
	unsigned char type;
	bool unclaimed;
	bool forwarded;			/* goes on to the next kernel */
	bool error;			/* a hardware error, found so far */
};

struct type {
	char name[MAX_NAME];
	unsigned long long pieces;
	unsigned long long bytes;
	unsigned long long unclaimed_pieces;
	unsigned long long unclaimed_bytes;
};

/* One of the two lists. */
struct list {
	const char *dir;		/* "in" or "out" */
	struct type types[MAX_TYPES];
	unsigned int nr_types;
	struct piece *pieces;
	size_t nr;
	size_t size;
};

static const char *root = "/sys/kernel/debug/kho";
static bool only_unclaimed;
static unsigned long long page_size;

static unsigned int find_type(struct list *list, const char *name)
{
	unsigned int i;

	for (i = 0; i < list->nr_types; i++) {
		if (!strcmp(list->types[i].name, name))
			return i;
	}
	if (i == MAX_TYPES)
		errx(1, "%s: more than %u types", list->dir, MAX_TYPES);
	snprintf(list->types[i].name, MAX_NAME, "%s", name);
	list->nr_types++;
	return i;
}

static void add_piece(struct list *list, unsigned long long start, unsigned int order,
		      const char *name, const char *state)
{
	const bool unclaimed = state && strstr(state, "unclaimed");
	const unsigned long long bytes = page_size << order;
	struct piece *piece;
	struct type *type;

	if (list->nr == list->size) {
		list->size = list->size ? list->size * 2 : 4096;
		list->pieces = realloc(list->pieces,
				       list->size * sizeof(*list->pieces));
		if (!list->pieces)
			errx(1, "no memory for %zu pieces", list->size);
	}

	piece = &list->pieces[list->nr++];
	piece->start = start;
	piece->bytes = bytes;
	piece->unclaimed = unclaimed;
	piece->forwarded = state && strstr(state, "forwarded");
	piece->error = state && strstr(state, "hardware error");
	piece->type = find_type(list, name);

	type = &list->types[piece->type];
	type->pieces++;
	type->bytes += bytes;
	if (unclaimed) {
		type->unclaimed_pieces++;
		type->unclaimed_bytes += bytes;
	}
}

/* A line of the list: ADDRESS ORDER TYPE[, STATE] */
static void parse_line(struct list *list, char *line)
{
	unsigned int order;
	unsigned long long start;
	char *state;
	int pos;

	line[strcspn(line, "\n")] = '\0';
	if (sscanf(line, "%llx %u %n", &start, &order, &pos) != 2 ||
	    order >= 64)
		errx(1, "%s/%s/memdescs: cannot read \"%s\"", root, list->dir, line);

	state = strchr(line + pos, ',');
	if (state)
		*state++ = '\0';
	add_piece(list, start, order, line + pos, state);
}

/* Returns false if there is no such list: nothing has been handed over. */
static bool read_list(struct list *list)
{
	char path[4096], *line = NULL;
	size_t size = 0;
	bool head = true;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s/memdescs", root, list->dir);
	file = fopen(path, "r");
	if (!file) {
		if (errno != ENOENT || access(root, R_OK))
			err(1, "%s (is debugfs mounted, and kho=on given?)", path);
		return false;
	}
	while (getline(&line, &size, file) > 0) {
		if (!head)
			parse_line(list, line);
		head = false;
	}
	if (ferror(file))
		err(1, "%s", path);
	free(line);
	fclose(file);
	return true;
}

static const char *human(unsigned long long bytes)
{
	static const char units[] = "BKMGTP";
	static char buf[4][24];
	static unsigned int next;
	unsigned int unit = 0;
	double value = bytes;
	char *s = buf[next++ % 4];

	while (value >= 1024 && units[unit + 1]) {
		value /= 1024;
		unit++;
	}
	snprintf(s, sizeof(buf[0]), unit ? "%.1f %c%s" : "%.0f %c%s", value, units[unit],
		 unit ? "iB" : "");
	return s;
}

static void show_summary(const struct list *list)
{
	const bool in = !strcmp(list->dir, "in");
	struct type sum = { .name = "all" };

	printf("%-18s %10s %12s", in ? "handed over to us" : "to hand over", "pieces",
	       "size");
	if (in)
		printf(" %10s %12s", "unclaimed", "size");
	putchar('\n');
	for (unsigned int i = 0; i <= list->nr_types; i++) {
		const struct type *type = i < list->nr_types ? &list->types[i] : &sum;

		printf("%-18s %10llu %12s", type->name, type->pieces,
		       human(type->bytes));
		if (in)
			printf(" %10llu %12s", type->unclaimed_pieces,
			       human(type->unclaimed_bytes));
		putchar('\n');
		sum.pieces += type->pieces;
		sum.bytes += type->bytes;
		sum.unclaimed_pieces += type->unclaimed_pieces;
		sum.unclaimed_bytes += type->unclaimed_bytes;
	}
}

static bool is_shown(const struct piece *piece)
{
	return !only_unclaimed || piece->unclaimed;
}

static int by_address(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static void show_list(struct list *list)
{
	const bool in = !strcmp(list->dir, "in");

	qsort(list->pieces, list->nr, sizeof(*list->pieces), by_address);
	for (size_t i = 0; i < list->nr; i++) {
		const struct piece *piece = &list->pieces[i];

		if (!is_shown(piece))
			continue;
		printf("%012llx-%012llx %12s  %s%s%s\n", piece->start,
		       piece->start + piece->bytes - 1, human(piece->bytes),
		       list->types[piece->type].name,
		       !in ? "" : piece->forwarded ? ", unclaimed, forwarded" :
		       piece->unclaimed ? ", unclaimed" : ", restored",
		       piece->error ? ", hardware error" : "");
	}
}

/* The letter of a type in the map. */
static char letter(unsigned int type)
{
	static const char letters[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789#@";

	return letters[type];
}

static void add_to_map(unsigned long long (*cells)[MAX_TYPES], unsigned long long cell_size,
		       const struct piece *piece)
{
	unsigned long long start = piece->start, end = start + piece->bytes, stop;

	for (; start < end; start = stop) {
		const unsigned long long cell = start / cell_size;

		stop = (cell + 1) * cell_size;
		if (stop > end)
			stop = end;
		cells[cell][piece->type] += stop - start;
	}
}

static char map_cell(const unsigned long long *bytes)
{
	unsigned int most = 0;

	for (unsigned int i = 1; i < MAX_TYPES; i++) {
		if (bytes[i] > bytes[most])
			most = i;
	}
	return bytes[most] ? letter(most) : '.';
}

/* Physical memory, a letter for the type that has most of each cell. */
static void show_map(const struct list *list)
{
	unsigned long long (*cells)[MAX_TYPES], cell_size = 1 << 20, end = 0;

	for (size_t i = 0; i < list->nr; i++) {
		const struct piece *piece = &list->pieces[i];

		if (piece->start + piece->bytes > end)
			end = piece->start + piece->bytes;
	}
	if (!end)
		return;
	while (cell_size * MAP_COLUMNS * MAP_LINES < end)
		cell_size *= 2;
	cells = calloc(end / cell_size + 1, sizeof(*cells));
	if (!cells)
		errx(1, "no memory for a map");
	for (size_t i = 0; i < list->nr; i++) {
		if (is_shown(&list->pieces[i]))
			add_to_map(cells, cell_size, &list->pieces[i]);
	}

	printf("a letter for %s: what has most of it\n", human(cell_size));
	for (unsigned long long i = 0; i * cell_size < end; i++) {
		if (!(i % MAP_COLUMNS))
			printf("%s%012llx ", i ? "\n" : "", i * cell_size);
		putchar(map_cell(cells[i]));
	}
	putchar('\n');
	for (unsigned int i = 0; i < list->nr_types; i++)
		printf("  %c %s\n", letter(i), list->types[i].name);
	free(cells);
}

static void json_list(const struct list *list, bool last)
{
	const bool in = !strcmp(list->dir, "in");
	bool first = true;

	printf("  \"%s\": {\n    \"types\": [", list->dir);
	for (unsigned int i = 0; i < list->nr_types; i++) {
		const struct type *type = &list->types[i];

		printf("%s\n      { \"type\": \"%s\", \"pieces\": %llu, \"bytes\": %llu",
		       i ? "," : "", type->name, type->pieces, type->bytes);
		if (in)
			printf(", \"unclaimed\": %llu, \"unclaimed_bytes\": %llu",
			       type->unclaimed_pieces, type->unclaimed_bytes);
		printf(" }");
	}
	printf("\n    ],\n    \"memdescs\": [");
	for (size_t i = 0; i < list->nr; i++) {
		const struct piece *piece = &list->pieces[i];

		if (!is_shown(piece))
			continue;
		printf("%s\n      { \"start\": %llu, \"bytes\": %llu, \"type\": \"%s\"",
		       first ? "" : ",", piece->start, piece->bytes,
		       list->types[piece->type].name);
		if (in)
			printf(", \"unclaimed\": %s, \"forwarded\": %s, \"hardware_error\": %s",
			       piece->unclaimed ? "true" : "false",
			       piece->forwarded ? "true" : "false",
			       piece->error ? "true" : "false");
		printf(" }");
		first = false;
	}
	printf("\n    ]\n  }%s\n", last ? "" : ",");
}

/* Let the kernel release or forward memory that nobody has restored. */
static void tell_kernel(const char *verb, const char *what)
{
	const size_t len = strlen(what);
	char path[4096];
	int fd;

	if (!len)
		errx(1, "--%s: %s what?", verb, verb);
	snprintf(path, sizeof(path), "%s/in/%s", root, verb);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		err(1, "%s (is debugfs mounted, and was memory handed over?)", path);
	if (write(fd, what, len) == (ssize_t)len) {
		close(fd);
		return;
	}
	switch (errno) {
	case ENOENT:
		errx(1, "%s: there is nothing to %s", what, verb);
	case EBUSY:
		errx(1, "%s: live update sessions are left: finish and close them", what);
	case EHWPOISON:
		errx(1, "%s: what is there may have hardware errors", what);
	case EINVAL:
		errx(1, "%s: neither \"all\", nor a type of the sums, nor a range of the list",
		     what);
	default:
		err(1, "%s", what);
	}
}

static void print_help(FILE *to)
{
	fprintf(to,
		"usage: kho [OPTION]...\n"
		"Show what kexec handover hands over to the next kernel, and what the\n"
		"previous kernel has handed over to this one.\n"
		"\n"
		"  -i, --in         only what was handed over to this kernel\n"
		"  -o, --out        only what is to be handed over\n"
		"  -l, --list       a line for each piece of memory: physical addresses,\n"
		"                   size, type, restored or not\n"
		"  -m, --map        physical memory as letters, one for each type\n"
		"  -u, --unclaimed  list, map and pieces: only what nobody has restored\n"
		"  -j, --json       types and pieces as JSON, sizes in bytes\n"
		"  -R, --release=WHAT  give memory that nobody has restored to the page\n"
		"                   allocator: \"all\", a type, or a range as in --list\n"
		"  -F, --forward=WHAT  hand such memory over to the next kernel\n"
		"  -r, --root=DIR   where the lists are (/sys/kernel/debug/kho)\n"
		"  -h, --help       this text\n"
		"\n"
		"Without --list, --map and --json: a sum for each type.\n"
		"Exit status: 0, or 1 if a list cannot be read or nothing was released\n"
		"or forwarded.\n");
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "in", no_argument, NULL, 'i' },
		{ "out", no_argument, NULL, 'o' },
		{ "list", no_argument, NULL, 'l' },
		{ "map", no_argument, NULL, 'm' },
		{ "unclaimed", no_argument, NULL, 'u' },
		{ "json", no_argument, NULL, 'j' },
		{ "release", required_argument, NULL, 'R' },
		{ "forward", required_argument, NULL, 'F' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ }
	};
	static struct list lists[] = { { .dir = "out" }, { .dir = "in" } };
	const char *verb = NULL, *verb_what = NULL;
	bool in = true, out = true;
	char what = 's';
	int c;

	page_size = sysconf(_SC_PAGESIZE);
	while ((c = getopt_long(argc, argv, "iolmujR:F:r:h", options, NULL)) != -1) {
		switch (c) {
		case 'i':
			out = false;
			break;
		case 'o':
			in = false;
			break;
		case 'l':
		case 'm':
		case 'j':
			what = c;
			break;
		case 'u':
			only_unclaimed = true;
			break;
		case 'R':
		case 'F':
			if (verb)
				errx(1, "only one of --release and --forward");
			verb = c == 'R' ? "release" : "forward";
			verb_what = optarg;
			break;
		case 'r':
			root = optarg;
			break;
		case 'h':
			print_help(stdout);
			return 0;
		default:
			print_help(stderr);
			return 1;
		}
	}
	if (optind < argc || (!in && !out)) {
		print_help(stderr);
		return 1;
	}
	if (verb) {
		tell_kernel(verb, verb_what);
		return 0;
	}
	if (only_unclaimed)
		out = false;

	if (what == 'j')
		puts("{");
	for (unsigned int i = 0; i < 2; i++) {
		struct list *list = &lists[i];

		if (i ? !in : !out)
			continue;
		if (!read_list(list) && what != 'j') {
			printf("%s: nothing was handed over to this kernel\n", list->dir);
			continue;
		}
		if (what == 's')
			show_summary(list);
		else if (what == 'l')
			show_list(list);
		else if (what == 'm')
			show_map(list);
		else
			json_list(list, i || !in);
		if (what != 'j' && !i && in)
			putchar('\n');
	}
	if (what == 'j')
		puts("}");
	return 0;
}
