/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Address space operations that take the folio type of their owner.
 */
#ifndef _LINUX_FOLIO_AOPS_H
#define _LINUX_FOLIO_AOPS_H

#include <linux/folio_type.h>
#include <linux/fs.h>

/**
 * DEFINE_FOLIO_AOP - Define an address space operation by a typed function
 * @op: the member of &struct address_space_operations, such as read_folio
 * @name: the function to define, for a table of operations
 * @type: the folio type that DEFINE_FOLIO_TYPE() defined
 * @func: the owner's function; it has the parameters of @op, with struct @type
 *	where these have &struct folio
 *
 * Defines @name, which converts what it is given by folio_@type() and calls
 * @func. It may be preceded by ``static``.
 *
 * The compiler inlines a static @func that nothing else calls, so there is one
 * function in the end. Other code that needs the operation may call @name with
 * ``&ptr->folio``. @func should be __always_inline then, or the compiler inlines
 * @name into that code and leaves @func out of line, for both to call.
 */
#define DEFINE_FOLIO_AOP(op, name, type, func)				\
	__FOLIO_AOP_##op(name, type, func)

/*
 * A wrapper, because a pointer to func() itself would be called as a function
 * of another type, which CONFIG_CFI refuses.
 */
#define __FOLIO_AOP_read_folio(name, type, func)			\
int name(struct file *file, struct folio *folio)			\
{									\
	return func(file, folio_##type(folio));				\
}

#define __FOLIO_AOP_dirty_folio(name, type, func)			\
bool name(struct address_space *mapping, struct folio *folio)		\
{									\
	return func(mapping, folio_##type(folio));			\
}

#define __FOLIO_AOP_write_begin(name, type, func)			\
int name(const struct kiocb *iocb, struct address_space *mapping,	\
	 loff_t pos, unsigned int len, struct folio **foliop,		\
	 void **fsdata)							\
{									\
	return func(iocb, mapping, pos, len, type##_out(foliop), fsdata); \
}

#define __FOLIO_AOP_write_end(name, type, func)				\
int name(const struct kiocb *iocb, struct address_space *mapping,	\
	 loff_t pos, unsigned int len, unsigned int copied,		\
	 struct folio *folio, void *fsdata)				\
{									\
	return func(iocb, mapping, pos, len, copied,			\
		    folio_##type(folio), fsdata);			\
}

#define __FOLIO_AOP_invalidate_folio(name, type, func)			\
void name(struct folio *folio, size_t offset, size_t len)		\
{									\
	func(folio_##type(folio), offset, len);				\
}

#define __FOLIO_AOP_release_folio(name, type, func)			\
bool name(struct folio *folio, gfp_t gfp)				\
{									\
	return func(folio_##type(folio), gfp);				\
}

#define __FOLIO_AOP_free_folio(name, type, func)			\
void name(struct folio *folio)						\
{									\
	func(folio_##type(folio));					\
}

/* The destination is not in the mapping yet. */
#define __FOLIO_AOP_migrate_folio(name, type, func)			\
int name(struct address_space *mapping, struct folio *dst,		\
	 struct folio *src, enum migrate_mode mode)			\
{									\
	return func(mapping, folio_##type(dst), folio_##type(src), mode); \
}

#define __FOLIO_AOP_launder_folio(name, type, func)			\
int name(struct folio *folio)						\
{									\
	return func(folio_##type(folio));				\
}

#define __FOLIO_AOP_is_partially_uptodate(name, type, func)		\
bool name(struct folio *folio, size_t from, size_t count)		\
{									\
	return func(folio_##type(folio), from, count);			\
}

#define __FOLIO_AOP_is_dirty_writeback(name, type, func)		\
void name(struct folio *folio, bool *dirty, bool *wb)			\
{									\
	func(folio_##type(folio), dirty, wb);				\
}

#define __FOLIO_AOP_error_remove_folio(name, type, func)		\
int name(struct address_space *mapping, struct folio *folio)		\
{									\
	return func(mapping, folio_##type(folio));			\
}

#endif /* _LINUX_FOLIO_AOPS_H */
