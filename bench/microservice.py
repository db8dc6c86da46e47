"""The usual way to serve a model over HTTP, as a rival: FastAPI, features from Redis, xgboost.

Started by bench/bars/serving.py with uvicorn; the environment says where model and Redis are.
It is written as its authors' guides would write it: one async client with a pool, features as
JSON under one key per row, the model loaded once per process.
"""

from __future__ import annotations

import json
import os

import numpy as np
import redis.asyncio
import xgboost
from fastapi import FastAPI, HTTPException

app = FastAPI()
store = redis.asyncio.Redis(unix_socket_path=os.environ["BENCH_REDIS"])
model = xgboost.XGBRegressor(n_jobs=1)
model.load_model(os.environ["BENCH_MODEL"])


@app.get("/predict/{row_id}")
async def predict(row_id: int) -> dict[str, float]:
    """The prediction for one row."""
    raw = await store.get(f"features:{row_id}")
    if raw is None:
        raise HTTPException(404, f"no row {row_id}")
    features = np.array([json.loads(raw)], dtype=np.float32)
    return {"prediction": float(model.predict(features)[0])}
