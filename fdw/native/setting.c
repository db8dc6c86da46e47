/*
 * setting.c: the settings of PostgresML, which its users have in their configuration.
 *
 * They were any user's to set, and so no boundary. Here a superuser sets them, and they can
 * only narrow what the server's own configuration allows: pgml.authorize reads the white
 * list, the others are shown and have no effect, for no Python runs in the backend. The
 * prefix is not reserved: databases may keep settings of their own under it.
 */
#include "annex.h"

#include <limits.h>

#include "utils/guc.h"

#ifndef GUC_ALLOW_IN_PARALLEL
#define GUC_ALLOW_IN_PARALLEL 0
#endif

static char *venv = NULL;
static char *model_list = NULL;
static char *remote_code_list = NULL;
static bool remote_code = false;
static int	omp_threads = 1;
static int	predict_threads = 2;

/* What the gate answered under the old list counts no more. */
static void
list_changed(const char *list, void *extra)
{
	(void) list;
	(void) extra;
	annex_authorize_forget();
}

void
annex_settings_init(void)
{
	DefineCustomStringVariable("pgml.huggingface_whitelist",
							   "Models that pgml.embed may use, separated by commas; empty for all that the server has.",
							   NULL,
							   &model_list, "", PGC_SUSET, GUC_ALLOW_IN_PARALLEL,
							   NULL, list_changed, NULL);
	DefineCustomBoolVariable("pgml.huggingface_trust_remote_code",
							 "Has no effect: the server's configuration decides, model by model.",
							 NULL,
							 &remote_code, false, PGC_SUSET, GUC_ALLOW_IN_PARALLEL,
							 NULL, NULL, NULL);
	DefineCustomStringVariable("pgml.huggingface_trust_remote_code_whitelist",
							   "Has no effect: the server's configuration decides, model by model.",
							   NULL,
							   &remote_code_list, "", PGC_SUSET, GUC_ALLOW_IN_PARALLEL,
							   NULL, NULL, NULL);
	DefineCustomStringVariable("pgml.venv",
							   "Has no effect: no Python runs in the backend.",
							   "The interpreters of the server are in its own configuration.",
							   &venv, NULL, PGC_SUSET, GUC_ALLOW_IN_PARALLEL,
							   NULL, NULL, NULL);
	DefineCustomIntVariable("pgml.omp_num_threads",
							"Has no effect: the server shares the processors out.",
							NULL,
							&omp_threads, 1, 1, INT_MAX, PGC_SUSET, GUC_ALLOW_IN_PARALLEL,
							NULL, NULL, NULL);
	DefineCustomIntVariable("pgml.predict_concurrency",
							"Has no effect: the server shares the processors out.",
							NULL,
							&predict_threads, 2, 1, INT_MAX, PGC_SUSET, GUC_ALLOW_IN_PARALLEL,
							NULL, NULL, NULL);
}
