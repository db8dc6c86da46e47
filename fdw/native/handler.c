/*
 * handler.c: the functions that SQL calls.
 *
 * Rows are only read: without callbacks for writing, Postgres itself refuses INSERT, UPDATE,
 * DELETE and COPY FROM with 0A000. Nor is a scan offered to parallel workers; a function
 * that a worker runs may scan all the same.
 */
#include "annex.h"

#include "access/reloptions.h"
#include "catalog/pg_foreign_table.h"
#include "commands/trigger.h"
#include "utils/inval.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(pgml_fdw_handler);
PG_FUNCTION_INFO_V1(pgml_fdw_validator);
PG_FUNCTION_INFO_V1(pgml_invalidate_grants);
PG_FUNCTION_INFO_V1(pgml_host_version);

Datum
pgml_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	(void) fcinfo;
	routine->GetForeignRelSize = annex_rel_size;
	routine->GetForeignPaths = annex_paths;
	routine->GetForeignPlan = annex_plan;
	routine->BeginForeignScan = annex_begin_scan;
	routine->IterateForeignScan = annex_iterate;
	routine->ReScanForeignScan = annex_rescan;
	routine->EndForeignScan = annex_end_scan;
	routine->ExplainForeignScan = annex_explain;
	PG_RETURN_POINTER(routine);
}

Datum
pgml_fdw_validator(PG_FUNCTION_ARGS)
{
	annex_check_options(untransformRelOptions(PG_GETARG_DATUM(0)), PG_GETARG_OID(1));
	PG_RETURN_VOID();
}

/*
 * A statement trigger for the relation that `authorize_depends` names: whatever changed in
 * it, every backend forgets the grants it has cached.
 */
Datum
pgml_invalidate_grants(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("pgml_invalidate_grants can only be called as a trigger")));
	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}

/* What HELLO says of this host, for pgml.version(). */
Datum
pgml_host_version(PG_FUNCTION_ARGS)
{
	text	   *version = (text *) palloc(VARHDRSZ + sizeof(ANNEX_VERSION) - 1);

	(void) fcinfo;
	SET_VARSIZE(version, VARHDRSZ + sizeof(ANNEX_VERSION) - 1);
	memcpy(VARDATA(version), ANNEX_VERSION, sizeof(ANNEX_VERSION) - 1);
	PG_RETURN_TEXT_P(version);
}
