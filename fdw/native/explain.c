/*
 * explain.c: what EXPLAIN says of a foreign scan.
 *
 * Always the verb and the model; with ANALYZE also what the server's END frames reported,
 * summed over the requests of the scan.
 */
#include "annex.h"

#include "commands/explain.h"
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

/* The expression that gives an input column its value; NULL where none does. */
static Node *
input_expression(ForeignScan *plan, AttrNumber attnum)
{
	List	   *attnums = list_nth(plan->fdw_private, PLAN_INPUTS);
	int			i;

	for (i = 0; i < list_length(attnums); i++)
	{
		if (list_nth_int(attnums, i) == attnum)
			return list_nth(plan->fdw_exprs, i);
	}
	return NULL;
}

/* A constant as its value, anything else as its expression. */
static char *
expression_text(ForeignScanState *node, Node *expression, ExplainState *es)
{
	Const	   *value = (Const *) expression;
	Oid			function;
	bool		varlena;
	List	   *context;

	if (IsA(expression, Const) && !value->constisnull)
	{
		getTypeOutputInfo(value->consttype, &function, &varlena);
		return OidOutputFunctionCall(function, value->constvalue);
	}
	context = set_deparse_context_plan(es->deparse_cxt, node->ss.ps.plan, NIL);
	return deparse_expression(expression, context, false, false);
}

static void
explain_model(ForeignScanState *node, AnnexTable *table, ExplainState *es)
{
	Node	   *expression;

	AnnexScan  *scan = node->fdw_state;

	if (table->model == InvalidAttrNumber)
		return;
	/* What a parameter stood for, where the scan has run. */
	if (scan->model != NULL)
	{
		ExplainPropertyText("Annex Model", scan->model, es);
		return;
	}
	expression = input_expression((ForeignScan *) node->ss.ps.plan, table->model);
	if (expression != NULL)
		ExplainPropertyText("Annex Model", expression_text(node, expression, es), es);
}

static void
explain_inputs(AnnexTable *table, ForeignScan *plan, ExplainState *es)
{
	List	   *state = list_nth(plan->fdw_private, PLAN_STATE);
	AttrNumber	batch = list_nth_int(state, 0);
	AttrNumber	missing = list_nth_int(state, 1);

	if (batch != InvalidAttrNumber)
		ExplainPropertyText("Annex Batch Input", table->columns[batch - 1].name, es);
	if (missing != InvalidAttrNumber)
		ExplainPropertyText("Annex Missing Input", table->columns[missing - 1].name, es);
}

static void
explain_stats(AnnexStats *stats, ExplainState *es)
{
	ExplainPropertyUInteger("Annex Requests", NULL, stats->requests, es);
	ExplainPropertyUInteger("Annex Batches", NULL, stats->batches, es);
	ExplainPropertyUInteger("Annex Rows", NULL, stats->rows, es);
	ExplainPropertyUInteger("Annex Tokens", NULL, stats->tokens, es);
	if (stats->engine != NULL)
		ExplainPropertyText("Annex Engine", stats->engine, es);
	if (!es->timing)
		return;
	ExplainPropertyFloat("Annex Queue Time", "ms", stats->queue_us / 1000.0, 3, es);
	ExplainPropertyFloat("Annex Compute Time", "ms", stats->compute_us / 1000.0, 3, es);
}

void
annex_explain(ForeignScanState *node, ExplainState *es)
{
	AnnexScan  *scan = node->fdw_state;

	ExplainPropertyText("Annex Verb", scan->table->verb, es);
	explain_model(node, scan->table, es);
	explain_inputs(scan->table, (ForeignScan *) node->ss.ps.plan, es);
	if (es->analyze)
		explain_stats(&scan->stats, es);
}
