/*
 * authorize.c: the gate in front of a request: may this role use this model?
 *
 * The function that the table's option `authorize` names raises, or returns the grant that
 * OPEN forwards. It runs in the caller's rights. Its answers are kept per role, table and
 * model until a role, a membership, a function or the relation of `authorize_depends`
 * changes; a refusal is never kept.
 */
#include "annex.h"

#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#define MODEL_KEY_SIZE 128
#define MAX_GRANTS 1000

typedef struct GrantKey
{
	Oid			role;
	Oid			relid;
	char		model[MODEL_KEY_SIZE];
} GrantKey;

typedef struct GrantEntry
{
	GrantKey	key;
	Oid			depends;
	char	   *grant;
} GrantEntry;

static HTAB *grants = NULL;
static MemoryContext grants_mcxt = NULL;
static uint64 invalidations = 0;

/* Forget everything. Entries are few and answers cheap, so nothing finer is worth it. */
static void
forget_grants(void)
{
	invalidations++;
	grants = NULL;
	if (grants_mcxt != NULL)
		MemoryContextReset(grants_mcxt);
}

/* For a setting that the gate reads. */
void
annex_authorize_forget(void)
{
	forget_grants();
}

static void
catalog_changed(Datum arg, int cache, uint32 hash)
{
	(void) arg;
	(void) cache;
	(void) hash;
	if (grants != NULL)
		forget_grants();
	invalidations++;
}

/* A relation changed: is it one that a cached answer depends on? */
static void
relation_changed(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS scan;
	GrantEntry *entry;
	bool		stale = false;

	(void) arg;
	invalidations++;
	if (grants == NULL)
		return;
	hash_seq_init(&scan, grants);
	while ((entry = hash_seq_search(&scan)) != NULL)
		stale |= !OidIsValid(relid) || entry->depends == relid || entry->key.relid == relid;
	if (stale)
		forget_grants();
}

void
annex_authorize_init(void)
{
	CacheRegisterSyscacheCallback(AUTHOID, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, catalog_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, catalog_changed, (Datum) 0);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}

/*
 * Trigger: whose rows say who may use a model. Its argument is the relation that the tables'
 * `authorize_depends` names: each backend forgets what it was told, this one after the
 * command, the others after the commit.
 */
PG_FUNCTION_INFO_V1(pgml_rights_changed);
Datum
pgml_rights_changed(PG_FUNCTION_ARGS)
{
	Trigger    *trigger;
	Oid			relid;

	if (!CALLED_AS_TRIGGER(fcinfo) || ((TriggerData *) fcinfo->context)->tg_trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("rights_changed is a trigger with one argument, the name of a relation")));
	trigger = ((TriggerData *) fcinfo->context)->tg_trigger;
	relid = RangeVarGetRelid(makeRangeVarFromNameList(annex_qualified_name(trigger->tgargs[0],
																		   "authorize_depends")),
							 NoLock, true);
	if (OidIsValid(relid))
		CacheInvalidateRelcacheByRelid(relid);
	PG_RETURN_POINTER(NULL);
}

static void
create_grants(void)
{
	HASHCTL		control;

	if (grants_mcxt == NULL)
		grants_mcxt = AllocSetContextCreate(annex_memory(), "pgannex grants", ALLOCSET_SMALL_SIZES);
	memset(&control, 0, sizeof(control));
	control.keysize = sizeof(GrantKey);
	control.entrysize = sizeof(GrantEntry);
	control.hcxt = grants_mcxt;
	grants = hash_create("pgannex grants", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* The function, which the caller must be allowed to execute. */
static Oid
find_function(const char *name)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Oid			function = LookupFuncName(annex_qualified_name(name, "authorize"), 2, types, false);
	AclResult	allowed;

	if (get_func_rettype(function) != JSONBOID || get_func_retset(function))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("function %s must return jsonb to authorize requests", name)));
#if PG_VERSION_NUM >= 160000
	allowed = object_aclcheck(ProcedureRelationId, function, GetUserId(), ACL_EXECUTE);
#else
	allowed = pg_proc_aclcheck(function, GetUserId(), ACL_EXECUTE);
#endif
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_FUNCTION, name);
	return function;
}

/* Call the gate; it raises where the answer is no. */
static char *
ask(AnnexTable *table, const char *model)
{
	LOCAL_FCINFO(fcinfo, 2);
	FmgrInfo	function;
	Datum		answer;

	fmgr_info(find_function(table->authorize), &function);
	InitFunctionCallInfoData(*fcinfo, &function, 2, DEFAULT_COLLATION_OID, NULL, NULL);
	/* A strict function would not be asked at all about a table without a model. */
	fcinfo->args[0].isnull = model == NULL && !function.fn_strict;
	fcinfo->args[0].value = fcinfo->args[0].isnull ? (Datum) 0
		: CStringGetTextDatum(model ? model : "");
	fcinfo->args[1].isnull = false;
	fcinfo->args[1].value = CStringGetTextDatum(table->verb);
	answer = FunctionCallInvoke(fcinfo);
	if (fcinfo->isnull)
		return "";
	return DatumGetCString(DirectFunctionCall1(jsonb_out, answer));
}

static void
remember(AnnexTable *table, const GrantKey *key, const char *grant)
{
	GrantEntry *entry;
	char	   *copy;
	Oid			depends = InvalidOid;
	uint64		before = invalidations;

	if (table->authorize_depends != NULL)
		depends = RangeVarGetRelid(makeRangeVarFromNameList(annex_qualified_name(table->authorize_depends,
																				 "authorize_depends")),
								   NoLock, false);
	if (before != invalidations)
		return;
	if (grants != NULL && hash_get_num_entries(grants) >= MAX_GRANTS)
		forget_grants();
	if (grants == NULL)
		create_grants();
	/* First what may fail: an entry is never without its grant. */
	copy = MemoryContextStrdup(grants_mcxt, grant);
	entry = hash_search(grants, key, HASH_ENTER, NULL);
	entry->depends = depends;
	entry->grant = copy;
}

/*
 * The grant to forward in OPEN, "" where the table has no gate. `model` is NULL for a table
 * without a model. Raises what the gate raises.
 */
char *
annex_authorize(AnnexTable *table, const char *model)
{
	GrantKey	key;
	GrantEntry *entry;
	uint64		before;
	char	   *grant;

	if (table->authorize == NULL)
		return "";
	memset(&key, 0, sizeof(key));
	key.role = GetUserId();
	key.relid = table->relid;
	if (model != NULL)
		strlcpy(key.model, model, MODEL_KEY_SIZE);
	/* NULL and the empty text are different questions. */
	if (model == NULL)
		key.model[1] = '\1';
	entry = grants == NULL ? NULL : hash_search(grants, &key, HASH_FIND, NULL);
	if (entry != NULL && (model == NULL || strlen(model) < MODEL_KEY_SIZE))
		return pstrdup(entry->grant);
	before = invalidations;
	grant = ask(table, model);
	/* An answer given while the ground moved is used once, but not kept. */
	if (before == invalidations && (model == NULL || strlen(model) < MODEL_KEY_SIZE))
		remember(table, &key, grant);
	return grant;
}
