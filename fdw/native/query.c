/*
 * query.c: a query of the caller, run a few rows at a time inside a scan.
 *
 * The scan owns a QueryDesc under its own snapshot and with the caller's rights, and calls
 * ExecutorRun for some rows at a time, as lazy SQL functions do. No SPI connection and no
 * pushed snapshot survive a call. So the query sees what the outer statement sees, and
 * never rows that this statement has just written. Exactly one SELECT is taken.
 */
#include "annex.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "nodes/parsenodes.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

typedef struct RowReceiver
{
	DestReceiver base;
	bool		(*row) (void *, TupleTableSlot *);
	void	   *arg;
	uint64		rows;
	bool		stopped;
} RowReceiver;

struct AnnexQuery
{
	const char *text;
	QueryDesc  *desc;
	RowReceiver receiver;
	bool		to_end;
	bool		done;
};

/* Errors of the inner query name it; a position in it must not point into the outer text. */
static void
explain_error(void *arg)
{
	const char *text = arg;
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(text);
	}
	else
		errcontext("query sent to the pgannex server: %s", text);
}

static void
push_context(ErrorContextCallback *context, const char *text)
{
	context->callback = explain_error;
	context->arg = unconstify(char *, text);
	context->previous = error_context_stack;
	error_context_stack = context;
}

static void
refuse(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("the query must be exactly one SELECT, but %s", what),
			 errhint("give one SELECT, without INTO, FOR UPDATE or writing CTEs")));
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;

	receiver->rows++;
	receiver->stopped = !receiver->row(receiver->arg, slot);
	return !receiver->stopped;
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	(void) self;
	(void) operation;
	(void) desc;
}

static void
receiver_nothing(DestReceiver *self)
{
	(void) self;
}

/* Parse, analyze and rewrite; the one SELECT that remains. */
static Query *
analyze(const char *text, bool with_param)
{
	Oid			param_type = TEXTOID;
	List	   *parsed = pg_parse_query(text);
	List	   *queries;
	Query	   *query;

	if (list_length(parsed) != 1)
		refuse(parsed == NIL ? "it is empty" : "it holds several statements");
	if (!IsA(linitial_node(RawStmt, parsed)->stmt, SelectStmt))
		refuse("it is another statement");
	queries = pg_analyze_and_rewrite_fixedparams(linitial_node(RawStmt, parsed), text, &param_type,
												 with_param ? 1 : 0, NULL);
	if (list_length(queries) != 1)
		refuse("a rule makes more of it");
	query = linitial_node(Query, queries);
	if (query->commandType != CMD_SELECT || query->utilityStmt != NULL)
		refuse("it writes");
	if (query->hasModifyingCTE)
		refuse("it has a CTE that writes");
	return query;
}

static ParamListInfo
text_param(const char *value)
{
	ParamListInfo params;

	if (value == NULL)
		return NULL;
	params = makeParamList(1);
	params->params[0].value = CStringGetTextDatum(value);
	params->params[0].isnull = false;
	params->params[0].pflags = PARAM_FLAG_CONST;
	params->params[0].ptype = TEXTOID;
	return params;
}

/*
 * Start a query in the current memory context, under the snapshot of `estate`. `param`,
 * if given, is $1. `to_end` says that it will be run in one go, so that it may use
 * parallel workers.
 */
AnnexQuery *
annex_query(EState *estate, const char *text, const char *param, bool to_end)
{
	AnnexQuery *query = palloc0(sizeof(AnnexQuery));
	ParamListInfo params = text_param(param);
	ErrorContextCallback context;
	PlannedStmt *plan;

	check_stack_depth();
	query->text = pstrdup(text);
	query->to_end = to_end;
	query->receiver.base.receiveSlot = receive_row;
	query->receiver.base.rStartup = receiver_startup;
	query->receiver.base.rShutdown = receiver_nothing;
	query->receiver.base.rDestroy = receiver_nothing;
	query->receiver.base.mydest = DestNone;
	push_context(&context, query->text);
	PushActiveSnapshot(estate->es_snapshot);
	plan = pg_plan_query(analyze(query->text, param != NULL), query->text,
						 to_end ? CURSOR_OPT_PARALLEL_OK : CURSOR_OPT_NO_SCROLL, params);
	/* Those of subqueries too, which the query's own list does not show. */
	if (plan->rowMarks != NIL)
		refuse("it locks rows");
	query->desc = CreateQueryDesc(plan, query->text, estate->es_snapshot, InvalidSnapshot,
								  &query->receiver.base, params, NULL, 0);
	ExecutorStart(query->desc, 0);
	PopActiveSnapshot();
	error_context_stack = context.previous;
	return query;
}

TupleDesc
annex_query_desc(AnnexQuery *query)
{
	return query->desc->tupDesc;
}

/*
 * Give up to `limit` rows (0: all) to `row`, which returns false to pause earlier. Returns
 * false once there are no more.
 */
bool
annex_query_run(AnnexQuery *query, uint64 limit, bool (*row) (void *, TupleTableSlot *), void *arg)
{
	RowReceiver *receiver = &query->receiver;
	ErrorContextCallback context;

	if (query->done)
		return false;
	receiver->row = row;
	receiver->arg = arg;
	receiver->rows = 0;
	receiver->stopped = false;
	push_context(&context, query->text);
	PushActiveSnapshot(query->desc->estate->es_snapshot);
#if PG_VERSION_NUM >= 180000
	ExecutorRun(query->desc, ForwardScanDirection, limit);
#else
	ExecutorRun(query->desc, ForwardScanDirection, limit, query->to_end);
#endif
	PopActiveSnapshot();
	error_context_stack = context.previous;
	query->done = !receiver->stopped && (limit == 0 || receiver->rows < limit);
	return !query->done;
}

/* End it in good order. After an error nobody calls this: the memory goes, as for any plan. */
void
annex_query_end(AnnexQuery *query)
{
	if (query->desc == NULL)
		return;
	ExecutorFinish(query->desc);
	ExecutorEnd(query->desc);
	FreeQueryDesc(query->desc);
	query->desc = NULL;
}
