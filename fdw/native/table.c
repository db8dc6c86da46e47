/*
 * table.c: what the catalogs say of one foreign table, kept per backend.
 *
 * Planning and each scan ask for it, so it is read from the catalogs once and dropped when
 * the table is altered. A description in use outlives its invalidation: scans hold a
 * reference.
 */
#include "annex.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/rel.h"

typedef struct TableEntry
{
	Oid			relid;			/* key */
	AnnexTable *table;
} TableEntry;

static HTAB *tables = NULL;

static void
forget(AnnexTable *table)
{
	table->valid = false;
	if (table->refs == 0)
		MemoryContextDelete(table->mcxt);
}

/* A relation changed: what was read of it is stale. InvalidOid stands for all of them. */
static void
relation_changed(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	TableEntry *entry;

	(void) arg;
	if (OidIsValid(relid))
	{
		entry = hash_search(tables, &relid, HASH_FIND, NULL);
		if (entry != NULL && entry->table != NULL)
			entry->table->valid = false;
		return;
	}
	hash_seq_init(&scan, tables);
	while ((entry = hash_seq_search(&scan)) != NULL)
	{
		if (entry->table != NULL)
			entry->table->valid = false;
	}
}

static void
create_tables(void)
{
	HASHCTL		control;

	memset(&control, 0, sizeof(control));
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(TableEntry);
	control.hcxt = annex_memory();
	tables = hash_create("pgannex tables", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}

/* The number of the column that a table option names. */
static AttrNumber
named_column(AnnexTable *table, const char *option, const char *name)
{
	int			i;

	for (i = 0; i < table->natts; i++)
	{
		AnnexColumn *column = &table->columns[i];

		if (column->dropped || strcmp(column->name, name) != 0)
			continue;
		if (column->input == INPUT_NONE)
			break;
		return i + 1;
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_COLUMN_NAME),
			 errmsg("option \"%s\" of foreign table \"%s\" names \"%s\", which is no input column",
					option, table->name, name),
			 errhint("give the column OPTIONS (input 'required'), or name another one")));
	return InvalidAttrNumber;
}

static void
read_column_options(AnnexTable *table, AnnexColumn *column, AttrNumber attnum)
{
	ListCell   *cell;

	foreach(cell, GetForeignColumnOptions(table->relid, attnum))
	{
		DefElem    *def = (DefElem *) lfirst(cell);

		if (strcmp(def->defname, "input") == 0)
			column->input = strcmp(defGetString(def), "required") == 0
				? INPUT_REQUIRED : INPUT_OPTIONAL;
		else if (strcmp(def->defname, "batch") == 0)
			column->batch = defGetBoolean(def);
	}
}

static void
read_columns(AnnexTable *table, TupleDesc desc)
{
	int			i;

	table->natts = desc->natts;
	table->columns = palloc0(sizeof(AnnexColumn) * Max(desc->natts, 1));
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);
		AnnexColumn *column = &table->columns[i];

		column->dropped = attr->attisdropped;
		if (column->dropped)
			continue;
		column->name = pstrdup(NameStr(attr->attname));
		column->wire_name = (char *) annex_to_utf8(column->name);
		column->type = attr->atttypid;
		column->typmod = attr->atttypmod;
		column->batch = true;
		read_column_options(table, column, i + 1);
		if (column->input == INPUT_NONE && column->type == INT8OID &&
			strcmp(column->name, "ordinal") == 0)
			table->ordinal = i + 1;
	}
}

static void
read_table_option(AnnexTable *table, DefElem *def)
{
	const char *name = def->defname;
	char	   *value = defGetString(def);

	if (strcmp(name, "verb") == 0)
		table->verb = (char *) annex_to_utf8(pstrdup(value));
	else if (strcmp(name, "model_column") == 0)
		table->model = named_column(table, name, value);
	else if (strcmp(name, "pull") == 0 || strcmp(name, "push") == 0)
	{
		table->query = named_column(table, name, value);
		table->push = strcmp(name, "push") == 0;
	}
	else if (strcmp(name, "authorize") == 0)
		table->authorize = pstrdup(value);
	else if (strcmp(name, "authorize_depends") == 0)
		table->authorize_depends = pstrdup(value);
	else if (strcmp(name, "stream_columns") == 0)
		annex_parse_stream(value, table);
	else if (strcmp(name, "lane") == 0)
		table->bulk = strcmp(value, "bulk") == 0;
	else if (strcmp(name, "unordered") == 0)
		table->unordered = defGetBoolean(def);
	else if (strcmp(name, "artifact") == 0)
		table->artifact = pstrdup(value);
}

/* Read one table from the catalogs, in a memory context of its own. */
static AnnexTable *
read_table(Oid relid)
{
	MemoryContext mcxt = AllocSetContextCreate(CurrentMemoryContext, "pgannex table",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(mcxt);
	AnnexTable *table = palloc0(sizeof(AnnexTable));
	Relation	rel = table_open(relid, NoLock);
	ListCell   *cell;

	table->relid = relid;
	table->mcxt = mcxt;
	table->valid = true;
	table->nstream = 0;
	table->stream_rest = true;	/* without `stream_columns`: all of them */
	table->name = pstrdup(RelationGetRelationName(rel));
	read_columns(table, RelationGetDescr(rel));
	table_close(rel, NoLock);
	foreach(cell, GetForeignTable(relid)->options)
		read_table_option(table, (DefElem *) lfirst(cell));
	MemoryContextSwitchTo(old);
	/* Nothing can fail any more: from here on it lives as long as the cache wants. */
	MemoryContextSetParent(mcxt, annex_memory());
	return table;
}

/*
 * The description of a foreign table, with a reference that annex_table_release gives
 * back. The relation is locked by the caller.
 */
AnnexTable *
annex_table(Oid relid)
{
	TableEntry *entry;
	AnnexTable *table;
	bool		found;

	if (tables == NULL)
		create_tables();
	entry = hash_search(tables, &relid, HASH_FIND, NULL);
	if (entry == NULL || entry->table == NULL || !entry->table->valid)
	{
		table = read_table(relid);
		entry = hash_search(tables, &relid, HASH_ENTER, &found);
		if (found && entry->table != NULL)
			forget(entry->table);
		entry->table = table;
	}
	entry->table->refs++;
	return entry->table;
}

/* Never raises: it runs in cleanups too. */
void
annex_table_release(AnnexTable *table)
{
	TableEntry *entry;

	if (--table->refs > 0)
		return;
	entry = hash_search(tables, &table->relid, HASH_FIND, NULL);
	if (entry == NULL || entry->table != table)
		MemoryContextDelete(table->mcxt);
}
