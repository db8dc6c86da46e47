/*
 * option.c: which options tables and columns take, and what their values may be.
 *
 * One table says it all: the validator and the hint about a wrong option read the same
 * rows. What an option means is read from the catalogs by table.c.
 */
#include "annex.h"

#include "catalog/pg_attribute.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "parser/parse_type.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/regproc.h"
#include "utils/varlena.h"

typedef enum
{
	VALUE_NAME,					/* any text but the empty one */
	VALUE_BOOL,
	VALUE_LANE,
	VALUE_INPUT,
	VALUE_QUALIFIED,
	VALUE_STREAM
} ValueKind;

typedef struct AnnexOption
{
	const char *name;
	Oid			catalog;
	ValueKind	kind;
} AnnexOption;

static const AnnexOption option_table[] = {
	{"verb", ForeignTableRelationId, VALUE_NAME},
	{"model_column", ForeignTableRelationId, VALUE_NAME},
	{"authorize", ForeignTableRelationId, VALUE_QUALIFIED},
	{"authorize_depends", ForeignTableRelationId, VALUE_QUALIFIED},
	{"pull", ForeignTableRelationId, VALUE_NAME},
	{"push", ForeignTableRelationId, VALUE_NAME},
	{"stream_columns", ForeignTableRelationId, VALUE_STREAM},
	{"lane", ForeignTableRelationId, VALUE_LANE},
	{"unordered", ForeignTableRelationId, VALUE_BOOL},
	{"artifact", ForeignTableRelationId, VALUE_NAME},
	{"input", AttributeRelationId, VALUE_INPUT},
	{"batch", AttributeRelationId, VALUE_BOOL},
	{NULL, InvalidOid, VALUE_NAME}
};

static const AnnexOption *
find_option(const char *name, Oid catalog)
{
	const AnnexOption *option;

	for (option = option_table; option->name != NULL; option++)
	{
		if (option->catalog == catalog && strcmp(option->name, name) == 0)
			return option;
	}
	return NULL;
}

/* Raise, and list what the catalog in question does take. */
static void
unknown_option(const char *name, Oid catalog)
{
	const AnnexOption *option;
	StringInfoData valid;

	initStringInfo(&valid);
	for (option = option_table; option->name != NULL; option++)
	{
		if (option->catalog == catalog)
			appendStringInfo(&valid, "%s%s", valid.len > 0 ? ", " : "", option->name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 valid.len > 0
			 ? errhint("valid options here are: %s", valid.data)
			 : errhint("no options are valid here: they belong to foreign tables and columns")));
}

static void
invalid_value(const char *option, const char *value, const char *valid)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("invalid value \"%s\" for option \"%s\"", value, option),
			 errhint("valid values are: %s", valid)));
}

/*
 * Split a qualified name. An unqualified one would be looked up by the caller's
 * search_path, so that anyone could put a function of their own in the gate's place.
 */
List *
annex_qualified_name(const char *value, const char *option)
{
#if PG_VERSION_NUM >= 160000
	List	   *name = stringToQualifiedNameList(value, NULL);
#else
	List	   *name = stringToQualifiedNameList(value);
#endif

	if (list_length(name) != 2)
		invalid_value(option, value, "a name with its schema, as in myschema.myname");
	return name;
}

static void
check_value(const AnnexOption *option, DefElem *def)
{
	char	   *value = defGetString(def);
	AnnexTable	scratch;

	switch (option->kind)
	{
		case VALUE_NAME:
			if (value[0] == '\0')
				invalid_value(option->name, value, "any text but the empty one");
			break;
		case VALUE_BOOL:
			(void) defGetBoolean(def);
			break;
		case VALUE_LANE:
			if (strcmp(value, "interactive") != 0 && strcmp(value, "bulk") != 0)
				invalid_value(option->name, value, "interactive, bulk");
			break;
		case VALUE_INPUT:
			if (strcmp(value, "required") != 0 && strcmp(value, "optional") != 0)
				invalid_value(option->name, value, "required, optional");
			break;
		case VALUE_QUALIFIED:
			(void) annex_qualified_name(value, option->name);
			break;
		case VALUE_STREAM:
			annex_parse_stream(value, &scratch);
			break;
	}
}

/* Check the options of one catalog object; they are those it has after the command. */
void
annex_check_options(List *options, Oid catalog)
{
	ListCell   *cell;
	bool		has_verb = false;
	bool		has_pull = false;
	bool		has_push = false;
	bool		has_stream = false;

	foreach(cell, options)
	{
		DefElem    *def = (DefElem *) lfirst(cell);
		const AnnexOption *option = find_option(def->defname, catalog);

		if (option == NULL)
			unknown_option(def->defname, catalog);
		else
			check_value(option, def);
		has_verb |= strcmp(def->defname, "verb") == 0;
		has_pull |= strcmp(def->defname, "pull") == 0;
		has_push |= strcmp(def->defname, "push") == 0;
		has_stream |= strcmp(def->defname, "stream_columns") == 0;
	}
	if (catalog != ForeignTableRelationId)
		return;
	if (!has_verb)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"verb\" is required"),
				 errhint("name what the server is asked for, as in OPTIONS (verb 'embed')")));
	if (has_pull && has_push)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("options \"pull\" and \"push\" exclude each other")));
	if (has_stream && !has_pull && !has_push)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("option \"stream_columns\" needs option \"pull\" or \"push\"")));
}

/*
 * Give the next item of a list separated by commas, minding parentheses and quotes. `at`
 * becomes NULL behind the last one.
 */
static char *
next_item(const char **at)
{
	const char *start = *at;
	const char *end;
	int			depth = 0;
	bool		quoted = false;

	for (end = start; *end != '\0' && (*end != ',' || depth > 0 || quoted); end++)
	{
		if (*end == '"')
			quoted = !quoted;
		else if (!quoted)
			depth += (*end == '(') - (*end == ')');
	}
	*at = *end == '\0' ? NULL : end + 1;
	return pnstrdup(start, end - start);
}

/* Split "name type" at the end of the name; the name may be quoted. */
static char *
split_name(char *item, char **type)
{
	char	   *at = item;
	char	   *end;

	while (scanner_isspace(*at))
		at++;
	end = at;
	if (*at == '"')
	{
		end = strchr(at + 1, '"');
		*type = end == NULL ? "" : end + 1;
		return end == NULL ? "" : pnstrdup(at + 1, end - at - 1);
	}
	while (*end != '\0' && !scanner_isspace(*end))
		end++;
	*type = end;
	return downcase_identifier(at, end - at, false, false);
}

/* Is the item the star that lets all further columns of a query travel as they are? */
static bool
is_star(const char *item)
{
	const char *at = item + strspn(item, " \t\r\n");

	return at[0] == '*' && at[1 + strspn(at + 1, " \t\r\n")] == '\0';
}

/* Read `stream_columns` into the table's description, in the current memory context. */
void
annex_parse_stream(const char *value, AnnexTable *table)
{
	const char *at = value;

	table->nstream = 0;
	table->stream_rest = false;
	table->stream = palloc(sizeof(AnnexStreamColumn) * (strlen(value) / 2 + 1));
	do
	{
		char	   *item = next_item(&at);
		AnnexStreamColumn *column;
		char	   *type;
		char	   *name;
		int32		typmod;

		table->stream_rest = is_star(item) && at == NULL;
		if (table->stream_rest)
			break;
		column = &table->stream[table->nstream++];
		name = split_name(item, &type);
		if (name[0] == '\0' || name[0] == '*' || type[strspn(type, " \t\r\n")] == '\0')
			invalid_value("stream_columns", value,
						  "names with types, as in 'key text, input text'; a last item * lets all further columns travel");
#if PG_VERSION_NUM >= 160000
		parseTypeString(type, &column->type, &typmod, NULL);
#else
		parseTypeString(type, &column->type, &typmod, false);
#endif
		column->wire_name = (char *) annex_to_utf8(name);
	} while (at != NULL);
}
