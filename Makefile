# SPDX-License-Identifier: GPL-2.0
# Entry points; each one is the script of its name. "make help" lists them.

SHELL := /bin/bash
vars := KDIR ARCH ACCEL JOBS V O DEBUG FORCE DAY KEEP SET FROM VERSION MODULE WORDS
export $(vars)

.PHONY: help run demo dma shell test configs sets bench memfd scale size tree stock refresh series check bisect fetch deps clean distclean
.NOTPARALLEL:
.SILENT:

help:
	echo 'Targets'
	echo '  run        build, boot, hand typed memory over by kexec, print the result'
	echo '  demo       a live update, step by step as it happens, the stock kernel beside it'
	echo '  dma        a sound card plays on by DMA while the kernel is replaced'
	echo '  shell      a guest with a shell on this terminal, to try things by hand'
	echo '  test       build, boot and test everything; ends with "N passed, N failed"'
	echo '  configs    the kernels of harness/kernels/matrix: built, and booted with a handover'
	echo '  sets       each set of patches/ alone: applied, built, booted, tested'
	echo '  bench      instruction counts, stock and patched'
	echo '  memfd      how long a live update takes for a memfd, stock and patched'
	echo '  scale      most of the memory of a guest of 512 GiB, or of what fits here'
	echo '  size       text and hot functions of a kernel that does not use the series'
	echo '  tree       the patched source as a git tree; prints its folder'
	echo '  stock      the same without the series'
	echo '  refresh    write patches/ and the new files from the commits in that tree'
	echo '  series     the mails of each set of patches, or of SET=; prints their folder'
	echo '  check      checkpatch, kernel-doc, Sphinx, sparse, and the repository itself'
	echo '  bisect     build after every patch, new options on and off, and none'
	echo '  fetch      download the kernel source and check it'
	echo '  deps       install what the other targets need'
	echo '  clean      remove what was built; distclean: the downloads as well'
	echo
	echo 'Variables'
	echo '  KDIR=path            a kernel tree of your own as the base; only read'
	echo '  ARCH=x86_64|arm64    default x86_64'
	echo '  ACCEL=auto|kvm|tcg   for QEMU, default auto'
	echo '  JOBS=n               parallel jobs, default: the number of CPUs'
	echo '  V=0|1                V=1: progress also where stderr is no terminal'
	echo '  O=folder             where everything is built, default build'
	echo '  DAY=n                test: the rows of harness/kernels/matrix of that day'
	echo '  DEBUG=gdb            run: the guest waits for gdb on port 1234'
	echo '  MODULE=folder        shell: build your kernel module, and put it into /test'
	echo '  WORDS=words          shell: for the command lines of the kernels'
	echo '  KEEP=1               configs: keep what was built'
	echo '  FORCE=1              tree, clean: drop work that is not in patches/'
	echo '  SET=name             series: only this set, a folder of patches/'
	echo '  FROM="Name <addr>"   series: who mails it, and becomes the author'
	echo '  VERSION=n            series: the version, 1 or more'

# A wrong value stops here, in one line, whatever the target.
ifneq ($(filter-out help,$(or $(MAKECMDGOALS),help)),)
given := $(foreach v,$(vars),$(if $(filter-out undefined,$(origin $v)),$v='$($v)'))
wrong := $(shell $(given) top='$(CURDIR)' bash -c '. harness/lib.sh' wrong 2>&1)
ifneq ($(wrong),)
$(error $(subst wrong: ,,$(wrong)))
endif
endif

run demo dma shell test configs sets bench memfd size tree refresh series check bisect fetch:
	exec harness/$@

scale:
	exec harness/scale base huge

stock:
	exec harness/tree --stock

deps:
	exec harness/deps tree build run check $(if $(filter arm64,$(ARCH)),arm64)

clean:
	exec harness/clean

distclean:
	exec harness/clean --all
