/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Folios of one owner as a C type of their own.
 */
#ifndef _LINUX_FOLIO_TYPE_H
#define _LINUX_FOLIO_TYPE_H

#include <linux/array_size.h>
#include <linux/container_of.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mmdebug.h>
#include <linux/rcupdate.h>

/**
 * folio_may_have_aops - May this folio be in a mapping with such operations?
 * @folio: the folio, to which the caller has a reference
 * @aops: addresses of the operations of one owner
 * @nr: how many they are
 *
 * For assertions. A truncated folio has no mapping that would tell its former
 * owner, so the result for it is true.
 *
 * Context: Any context.
 * Return: false if @folio certainly belongs to another owner.
 */
static inline bool
folio_may_have_aops(const struct folio *folio,
		    const struct address_space_operations *const *aops,
		    unsigned int nr)
{
	const struct address_space_operations *a_ops;
	const struct address_space *mapping;
	bool same = true;

	if (page_has_type(&folio->page))
		return false;

	/* Without the folio lock the inode may go away meanwhile. */
	rcu_read_lock();
	mapping = READ_ONCE(folio->mapping);
	if ((unsigned long)mapping & FOLIO_MAPPING_FLAGS) {
		same = false;
	} else if (mapping) {
		/* The owner may change them, to others that are its own. */
		a_ops = READ_ONCE(mapping->a_ops);
		for (same = false; nr && !same; nr--)
			same = a_ops == aops[nr - 1];
	}
	rcu_read_unlock();
	return same;
}

/**
 * DEFINE_FOLIO_TYPE - Define a C type for the folios of one owner
 * @type: the tag of the structure
 * @...: address of the &struct address_space_operations of its folios; several
 *	if the owner has several
 *
 * Defines struct @type, whose only member is a &struct folio, and
 * folio_@type(), which converts a &struct folio pointer to a struct @type
 * pointer and must not be given NULL. With CONFIG_DEBUG_VM, it warns if the
 * folio belongs to another owner, which is what folio_may_be_@type() tells.
 * To convert back, use ``&ptr->folio``. Without CONFIG_DEBUG_VM neither
 * conversion generates code.
 *
 * For a function that returns a folio through a pointer, ``<type>_out()``
 * converts the address of a &struct folio pointer. The function may write there,
 * and must not read what is there.
 *
 * A function that takes a struct @type pointer accepts only folios that went
 * through folio_@type(): a &struct folio or the type of another owner does not
 * compile. The owner should call folio_@type() where it gets its folios from
 * the page cache.
 */
#define DEFINE_FOLIO_TYPE(type, ...)					\
struct type {								\
	struct folio folio;						\
};									\
									\
static inline bool folio_may_be_##type(const struct folio *folio)	\
{									\
	static const struct address_space_operations *const aops[] = {	\
		__VA_ARGS__						\
	};								\
									\
	return folio_may_have_aops(folio, aops, ARRAY_SIZE(aops));	\
}									\
									\
static inline struct type *folio_##type(struct folio *folio)		\
{									\
	VM_WARN_ON_ONCE_FOLIO(!folio_may_be_##type(folio), folio);	\
	return container_of(folio, struct type, folio);			\
}									\
									\
static inline struct type **type##_out(struct folio **foliop)		\
{									\
	return (struct type **)foliop;					\
}									\
									\
static_assert(sizeof(struct type) == sizeof(struct folio))

#endif /* _LINUX_FOLIO_TYPE_H */
