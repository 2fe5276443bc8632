// SPDX-License-Identifier: GPL-2.0-only
///
/// Convert callers of the functions that KHO had before memory was handed over by
/// its type. Documentation/core-api/kho/memdesc.rst says which function takes the
/// place of which.
///
/// The functions that restore memory return an error pointer, where the old ones
/// returned NULL: tests of the result are converted, and an error code beside such
/// a test becomes PTR_ERR().
///
/// A caller of kho_preserve_pages() must know how it has allocated the pages. One
/// page is preserved by kho_pages_preserve(), several by
/// kho_pages_exact_preserve(), which is right for pages that are freed one by one.
/// Look at these, and at callers that preserve no page at all: that is an error now.
/// A result that is tested in another way than "if (!folio)", or "if (folio)", is
/// left for you as well.
///
// Confidence: Moderate
// Copyright: (C) 2026 the authors of typed KHO. GPLv2.
// Options: --no-includes --include-headers
//

virtual patch
virtual context
virtual org
virtual report

@error_return depends on patch@
expression x, E;
constant C;
@@

 x = \(kho_restore_folio\|kho_restore_vmalloc\)(E);
 if (
-    !x
+    IS_ERR(x)
    )
-	return -C;
+	return PTR_ERR(x);

@error_code depends on patch@
expression x, E, err;
constant C;
@@

 x = \(kho_restore_folio\|kho_restore_vmalloc\)(E);
 if (
-    !x
+    IS_ERR(x)
    ) {
	...
-	err = -C;
+	err = PTR_ERR(x);
	...
 }

@failed depends on patch exists@
expression x, E, E1;
@@

 x = \(kho_restore_folio\|kho_restore_vmalloc\)(E);
 ... when != x = E1
     when any
(
- !x
+ IS_ERR(x)
|
- x == NULL
+ IS_ERR(x)
|
- x != NULL
+ !IS_ERR(x)
)

@restored depends on patch disable neg_if exists@
expression x, E, E1;
statement S1, S2;
@@

 x = \(kho_restore_folio\|kho_restore_vmalloc\)(E);
 ... when != x = E1
     when any
 if (
-    x
+    !IS_ERR(x)
    ) S1 else S2

@failed_init depends on patch exists@
type T;
identifier x;
expression E, E1;
@@

 T x = \(kho_restore_folio\|kho_restore_vmalloc\)(E);
 ... when != x = E1
     when any
(
- !x
+ IS_ERR(x)
|
- x == NULL
+ IS_ERR(x)
|
- x != NULL
+ !IS_ERR(x)
)

@restored_init depends on patch disable neg_if exists@
type T;
identifier x;
expression E, E1;
statement S1, S2;
@@

 T x = \(kho_restore_folio\|kho_restore_vmalloc\)(E);
 ... when != x = E1
     when any
 if (
-    x
+    !IS_ERR(x)
    ) S1 else S2

@preserve depends on patch@
expression E, E1;
idexpression nr;
@@

(
- kho_preserve_folio(E)
+ kho_folio_preserve(E)
|
- kho_unpreserve_folio(E)
+ kho_folio_unpreserve(E)
|
- kho_restore_folio(E)
+ kho_folio_restore(E)
|
- kho_preserve_vmalloc(E, E1)
+ kho_vmalloc_preserve(E, E1)
|
- kho_unpreserve_vmalloc(E)
+ kho_vmalloc_unpreserve(E)
|
- kho_restore_vmalloc(E)
+ kho_vmalloc_restore(E)
|
- kho_preserve_pages(E, 1)
+ kho_pages_preserve(E, 0)
|
- kho_unpreserve_pages(E, 1)
+ kho_pages_unpreserve(E, 0)
|
- kho_preserve_pages(E, nr)
+ kho_pages_exact_preserve(page_address(E), nr * PAGE_SIZE)
|
- kho_preserve_pages(E, E1)
+ kho_pages_exact_preserve(page_address(E), (E1) * PAGE_SIZE)
|
- kho_unpreserve_pages(E, nr)
+ kho_pages_exact_unpreserve(page_address(E), nr * PAGE_SIZE)
|
- kho_unpreserve_pages(E, E1)
+ kho_pages_exact_unpreserve(page_address(E), (E1) * PAGE_SIZE)
)

@included@
@@

 #include <linux/kho_memdesc.h>

@depends on preserve && !included@
@@

 #include <linux/kexec_handover.h>
+#include <linux/kho_memdesc.h>

// kho_restore_pages() returned a page, and its successor an address: by hand.
@old@
identifier f = {kho_preserve_folio, kho_unpreserve_folio, kho_restore_folio,
		kho_preserve_pages, kho_unpreserve_pages, kho_restore_pages,
		kho_preserve_vmalloc, kho_unpreserve_vmalloc,
		kho_restore_vmalloc};
position p;
@@

 f@p(...)

@depends on context@
identifier old.f;
position old.p;
@@

* f@p(...)

@script:python depends on org@
p << old.p;
f << old.f;
@@

coccilib.org.print_todo(p[0], "WARNING: call the function for the type of the memory instead of %s()" % f)

@script:python depends on report || patch@
p << old.p;
f << old.f;
@@

coccilib.report.print_report(p[0], "WARNING: call the function for the type of the memory instead of %s()" % f)
