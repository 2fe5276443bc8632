# SPDX-License-Identifier: GPL-2.0
#
# Judges the log of a run of typed.sh, with "last" kernels. Prints one line for
# each test: "pass" or "fail", and what was tested.

function count(name,	i)
{
	for (i = 1; i <= NF; i++) {
		if (index($i, name "=") == 1)
			return substr($i, length(name) + 2) + 0
	}
	return -1
}

# Of several faults, the first one counts.
function fault(type, text)
{
	if (!(type in faults))
		faults[type] = text
}

function result(text_of_fault, text)
{
	if (text_of_fault != "")
		print "fail", text_of_fault
	else
		print "pass", text
}

# What a kernel says about a type: "ok NUMBER TYPE # COUNTS".
function report(ok, type,	had, got, before)
{
	if (!(type in known)) {
		known[type]
		types[++nr_types] = type
	}
	if ((type, kernel) in preserved)
		fault(type, "kernel " kernel " reports it twice")
	had = count("preserved")
	got = count("restored")
	reported[kernel]++
	preserved[type, kernel] = had
	restored[type] += got
	freed[type] += count("freed")

	before = kernel > 1 ? preserved[type, kernel - 1] + 0 : 0
	if (got != before)
		fault(type, "kernel " kernel " restored " got " of " before)
	if (!ok)
		fault(type, "kernel " kernel ": " substr($0, index($0, "#") + 2))
	if (kernel < last && had <= 0)
		fault(type, "kernel " kernel " preserved nothing")
	if (kernel == last && had != 0)
		fault(type, "kernel " kernel " has not freed everything")
}

/Linux version / { booted++ }

/WARNING: |BUG: |BUG at |Oops: |Kernel panic|Internal error: |KASAN: / ||
/general protection fault|[Uu]nable to handle (kernel|page fault)/ ||
/Bad page state|refcount_t: |list_(add|del) corruption/ {
	if (complaint == "")
		complaint = "kernel " booted ": " $0
}

!sub(/^.*kho-typed /, "") { next }

{
	kernel = $1 + 0
	sub(/^[0-9]+: /, "")
}

/^Bail out! / {
	if (bail_out == "")
		bail_out = "kernel " kernel ": " substr($0, 11)
}
/^1\.\.[0-9]+$/ { planned[kernel] = substr($0, 4) + 0 }
/^ok / { report(1, $3) }
/^not ok / { report(0, $4) }

END {
	result(booted == last ? "" : booted + 0 " of " last " kernels have booted",
	       last " kernels have booted")
	result(complaint, "no kernel complains")
	for (i = 1; i <= last && bail_out == ""; i++) {
		if (!planned[i] || planned[i] != reported[i])
			bail_out = "kernel " i " reports " reported[i] + 0 \
				   " of " planned[i] + 0 " types"
	}
	result(bail_out, "every kernel reports all types")

	for (i = 1; i <= nr_types; i++) {
		type = types[i]
		for (j = 1; j <= last; j++) {
			if (!((type, j) in preserved))
				fault(type, "no report from kernel " j)
		}
		result(type in faults ? type ": " faults[type] : "",
		       type ": restored " restored[type] ", freed " freed[type])
	}
}
