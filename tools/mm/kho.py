#!/usr/bin/env drgn
# SPDX-License-Identifier: GPL-2.0-only
#
# What kexec handover hands over, and what it was handed, from a running kernel or
# from the dump of one that has crashed. Prints what the program of the same name
# prints:
#
#   drgn SCRIPT [--in | --out] [--list] [--unclaimed]
#   drgn -c vmcore -s vmlinux SCRIPT ...
#
# The kernel needs debug information (CONFIG_DEBUG_INFO), and for --in
# CONFIG_KEXEC_HANDOVER_DEBUGFS, without which it keeps no list.

"""What kexec handover hands over, and what it was handed."""

import argparse
import struct
import sys

from drgn import FaultError, PlatformFlags
from drgn.helpers.linux.mm import pfn_to_page

PAGE_SIZE = prog["PAGE_SIZE"].value_()
PAGE_SHIFT = PAGE_SIZE.bit_length() - 1

# As in include/linux/kho/abi/kexec_handover.h and abi/memdesc.h.
MEMDESC_SHIFT = 64 - PAGE_SHIFT + 1
KEY_WIDTH = MEMDESC_SHIFT + 6
TABLE_LOG2 = PAGE_SHIFT - 3
BITMAP_LOG2 = PAGE_SHIFT + 3
LEVELS = -(-(KEY_WIDTH - BITMAP_LOG2) // TABLE_LOG2)

# As in kernel/liveupdate/kexec_handover_internal.h: the stamp in page->private of
# the first page, which is there until somebody restores the memory.
MAGIC_PRESERVED = 0x4B484F50
MAGIC_POISONED = 0x4B484F45
MAGIC_FORWARDED = 0x4B484F46

LITTLE = bool(prog.platform.flags & PlatformFlags.IS_LITTLE_ENDIAN)
ENDIAN = "<" if LITTLE else ">"


def leaves(phys, level, prefix=0):
    """Yield (first key, bitmap as a number) of the leaves below a node."""
    node = prog.read(phys, PAGE_SIZE, physical=True)
    if level == 0:
        words = struct.unpack(f"{ENDIAN}{PAGE_SIZE // 8}Q", node)
        yield prefix, words
        return
    shift = (level - 1) * TABLE_LOG2 + BITMAP_LOG2
    for i, child in enumerate(struct.unpack(f"{ENDIAN}{PAGE_SIZE // 8}Q", node)):
        if child:
            yield from leaves(child, level - 1, prefix | i << shift)


def keys(root):
    """Yield the keys of a map, in their order."""
    top = struct.unpack(f"{ENDIAN}{PAGE_SIZE // 8}Q", prog.read(root, PAGE_SIZE))
    shift = (LEVELS - 1) * TABLE_LOG2 + BITMAP_LOG2
    for i, child in enumerate(top):
        if not child:
            continue
        for prefix, words in leaves(child, LEVELS - 1, i << shift):
            for n, word in enumerate(words):
                while word:
                    bit = (word & -word).bit_length() - 1
                    yield prefix | n * 64 + bit
                    word &= word - 1


def decode(key):
    """As kho_decode_key(): physical address, order, type."""
    kind = key >> MEMDESC_SHIFT
    key &= (1 << MEMDESC_SHIFT) - 1
    order = 64 - PAGE_SHIFT - (key.bit_length() - 1)
    return (key ^ 1 << key.bit_length() - 1) << PAGE_SHIFT + order, order, kind


def fate(phys, order, kind):
    """What has become of memory that the previous kernel preserved."""
    try:
        private = pfn_to_page(prog, phys >> PAGE_SHIFT).private.value_()
    except FaultError:
        return "restored"
    # union kho_page_info
    layout = ENDIAN + "BBHI"
    found_order, _, found_kind, magic = struct.unpack(
        layout, struct.pack(ENDIAN + "Q", private))
    if (found_order, found_kind) != (order, kind):
        return "restored"
    if magic == MAGIC_PRESERVED:
        return "unclaimed"
    if magic == MAGIC_POISONED:
        return "unclaimed, hardware error"
    if magic == MAGIC_FORWARDED:
        return "unclaimed, forwarded"
    return "restored"


def human(size):
    """As human() of tools/mm/kho.c."""
    if size < 1024:
        return f"{size} B"
    for unit in "KMGTP":
        size /= 1024
        if size < 1024 or unit == "P":
            return f"{size:.1f} {unit}iB"
    return None


def read_map(root, incoming):
    """All preservations of a map: (address, bytes, type, state)."""
    types = prog["kho_types"]
    names = [kind.name.string_().decode() for kind in types]
    pieces = []
    for key in keys(root):
        phys, order, kind = decode(key)
        name = names[kind] if kind < len(names) else "unknown"
        state = fate(phys, order, kind) if incoming else ""
        pieces.append((phys, PAGE_SIZE << order, name, state))
    return pieces


def show_summary(pieces, incoming):
    """A line for each type, and one for all."""
    title = "handed over to us" if incoming else "to hand over"
    line = f"{title:<18} {'pieces':>10} {'size':>12}"
    print(line + (f" {'unclaimed':>10} {'size':>12}" if incoming else ""))
    sums = {}
    for _, size, name, state in pieces:
        unclaimed = state.startswith("unclaimed")
        for what in (name, "all"):
            total = sums.setdefault(what, [0, 0, 0, 0])
            total[0] += 1
            total[1] += size
            total[2] += unclaimed
            total[3] += size * unclaimed
    everything = sums.pop("all", [0, 0, 0, 0])
    for name, total in [*sums.items(), ("all", everything)]:
        line = f"{name:<18} {total[0]:>10} {human(total[1]):>12}"
        if incoming:
            line += f" {total[2]:>10} {human(total[3]):>12}"
        print(line)


def show_list(pieces):
    """A line for each preservation, by address."""
    for phys, size, name, state in sorted(pieces):
        tail = f", {state}" if state else ""
        print(f"{phys:012x}-{phys + size - 1:012x} {human(size):>12}  {name}{tail}")


def show(root, incoming, args):
    """One of the two maps, as the arguments want it."""
    pieces = read_map(root, incoming)
    if not args.list:
        show_summary(pieces, incoming)
        return
    if args.unclaimed:
        pieces = [p for p in pieces if p[3].startswith("unclaimed")]
    show_list(pieces)


def main():
    """Read the maps of the kernel, and show them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in", dest="incoming", action="store_true",
                        help="only what the previous kernel has handed over")
    parser.add_argument("--out", action="store_true",
                        help="only what this kernel would hand over")
    parser.add_argument("--list", action="store_true",
                        help="a line for each preservation")
    parser.add_argument("--unclaimed", action="store_true",
                        help="only what nobody has restored")
    args = parser.parse_args()

    if args.incoming and args.out:
        parser.error("--in or --out")
    if not prog["kho_out"].radix_tree.root:
        sys.exit("KHO is off in this kernel")

    if not args.incoming and not args.unclaimed:
        show(prog["kho_out"].radix_tree.root.value_(), False, args)
        if not args.out:
            print()
    if not args.out:
        try:
            root = prog["kho_in_map"].value_()
        except LookupError:
            sys.exit("in: this kernel keeps no list (CONFIG_KEXEC_HANDOVER_DEBUGFS)")
        if root:
            show(root, True, args)
        else:
            print("in: nothing was handed over to this kernel")


main()
