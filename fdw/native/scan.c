/*
 * scan.c: a scan's life from BeginForeignScan to EndForeignScan.
 *
 * A scan makes one request per execution of its inputs: one for a query with constants, one
 * per outer row in a nested loop. EndForeignScan is not called after an error, so a reset
 * callback of the scan's memory closes the connection.
 */
#include "annex.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* Runs also while an error unwinds: it must not raise. */
static void
cleanup_scan(void *arg)
{
	AnnexScan  *scan = arg;

	if (scan->stream.conn != NULL)
		annex_connection_close(scan->stream.conn);
	if (scan->table != NULL)
		annex_table_release(scan->table);
	scan->table = NULL;
}

static void
missing_input(AnnexTable *table, AttrNumber attnum, AnnexLack lack)
{
	const char *column = table->columns[attnum - 1].name;

	if (lack == LACK_SCALAR)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" of \"%s\" takes one value, not = ANY (array)", column, table->name),
				 errdetail("code: bad_argument"),
				 errhint("give it by %s = value; for several values join a list of them by LATERAL", column)));
	if (lack == LACK_SECOND_BATCH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" of \"%s\" cannot be = ANY (array) too", column, table->name),
				 errdetail("code: bad_argument\nOne column of a scan may be given by an array."),
				 errhint("give it by %s = value; for several values join a list of them by LATERAL", column)));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("input column \"%s\" of \"%s\" has no value", column, table->name),
			 errdetail("code: bad_argument\nIt is not read like a table: the query must say %s = value or %s = ANY (array).",
					   column, column),
			 errhint("to take the value from another table use LATERAL or LEFT JOIN, with enable_nestloop on")));
}

static void
init_inputs(AnnexScan *scan, ForeignScan *plan)
{
	List	   *attnums = list_nth(plan->fdw_private, PLAN_INPUTS);
	AttrNumber	batch = list_nth_int(list_nth(plan->fdw_private, PLAN_STATE), 0);
	ListCell   *cell;
	int			i = 0;

	scan->ninputs = list_length(attnums);
	scan->inputs = palloc(sizeof(AttrNumber) * Max(scan->ninputs, 1));
	scan->exprs = palloc(sizeof(ExprState *) * Max(scan->ninputs, 1));
	scan->types = palloc(sizeof(Oid) * Max(scan->ninputs, 1));
	scan->input_codecs = palloc(sizeof(AnnexCodec) * Max(scan->ninputs, 1));
	scan->values = palloc(sizeof(Datum) * Max(scan->ninputs, 1));
	scan->batch = -1;
	foreach(cell, plan->fdw_exprs)
	{
		Oid			type = exprType(lfirst(cell));

		scan->inputs[i] = list_nth_int(attnums, i);
		scan->exprs[i] = ExecInitExpr(lfirst(cell), &scan->node->ss.ps);
		scan->types[i] = type;
		if (scan->inputs[i] == batch)
		{
			scan->batch = i;
			type = get_base_element_type(type);
		}
		annex_codec(&scan->input_codecs[i], type, -1);
		/* The array is copied as a whole; its elements are what is sent. */
		if (scan->batch == i)
			scan->input_codecs[i].typlen = -1;
		i++;
	}
}

static void
init_outputs(AnnexScan *scan, ForeignScan *plan)
{
	List	   *attnums = list_nth(plan->fdw_private, PLAN_OUTPUTS);
	int			i;

	scan->noutputs = list_length(attnums);
	scan->outputs = palloc(sizeof(AttrNumber) * Max(scan->noutputs, 1));
	scan->codecs = palloc(sizeof(AnnexCodec) * Max(scan->noutputs, 1));
	scan->columns = palloc0(sizeof(FrameColumn) * Max(scan->noutputs, 1));
	for (i = 0; i < scan->noutputs; i++)
	{
		AnnexColumn *column = &scan->table->columns[list_nth_int(attnums, i) - 1];

		scan->outputs[i] = list_nth_int(attnums, i);
		annex_codec(&scan->codecs[i], column->type, column->typmod);
		scan->text_results |= !annex_can_receive(column->type);
	}
}

void
annex_begin_scan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	List	   *state = list_nth(plan->fdw_private, PLAN_STATE);
	MemoryContext mcxt = AllocSetContextCreate(node->ss.ps.state->es_query_cxt, "pgannex scan",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(mcxt);
	AnnexScan  *scan = palloc0(sizeof(AnnexScan));

	scan->node = node;
	scan->mcxt = mcxt;
	scan->cleanup.func = cleanup_scan;
	scan->cleanup.arg = scan;
	MemoryContextRegisterResetCallback(mcxt, &scan->cleanup);
	scan->table = annex_table(RelationGetRelid(node->ss.ss_currentRelation));
	scan->stream.subid = GetCurrentSubTransactionId();
	node->fdw_state = scan;
	if (!(eflags & EXEC_FLAG_EXPLAIN_ONLY))
	{
		if (list_nth_int(state, 1) != InvalidAttrNumber)
			missing_input(scan->table, list_nth_int(state, 1), list_nth_int(state, 2));
		scan->request_mcxt = AllocSetContextCreate(mcxt, "pgannex request", ALLOCSET_DEFAULT_SIZES);
		init_inputs(scan, plan);
		init_outputs(scan, plan);
	}
	MemoryContextSwitchTo(old);
}

/* The first row is asked for: make the request, unless its inputs say there is nothing. */
static void
start(AnnexScan *scan)
{
	scan->started = true;
	scan->position = 0;
	scan->current = NULL;
	scan->finished = !annex_request_inputs(scan);
	if (!scan->finished)
		annex_stream_start(scan);
}

TupleTableSlot *
annex_iterate(ForeignScanState *node)
{
	AnnexScan  *scan = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;

	ExecClearTuple(slot);
	if (!scan->started)
		start(scan);
	if (scan->finished)
		return slot;
	if (!annex_next_row(scan, slot))
	{
		scan->finished = true;
		return slot;
	}
	return ExecStoreVirtualTuple(slot);
}

/* Give up the request under way, if there is one, and what it held. */
static void
end_request(AnnexScan *scan)
{
	if (!scan->started)
		return;
	annex_stream_abandon(scan);
	if (scan->query != NULL)
		annex_query_end(scan->query);
	scan->query = NULL;
	scan->out = NULL;
	scan->current = NULL;
	scan->started = false;
	scan->finished = false;
}

void
annex_rescan(ForeignScanState *node)
{
	AnnexScan  *scan = node->fdw_state;

	end_request(scan);
	MemoryContextReset(scan->request_mcxt);
}

void
annex_end_scan(ForeignScanState *node)
{
	AnnexScan  *scan = node->fdw_state;

	if (scan == NULL)
		return;
	node->fdw_state = NULL;
	end_request(scan);
	MemoryContextDelete(scan->mcxt);
}
