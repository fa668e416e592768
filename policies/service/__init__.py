"""The HTTP service over a bundle: shelves out, feedback in, stored before anything is answered.

settings.py    what `shelftalk serve` takes, checked before anything starts
messages.py    the JSON of requests and answers
errors.py      every failure as one JSON shape
guard.py       what each request passes first: key, rate, size, time
keys.py, rate.py, logs.py, metrics.py    one each
shelves.py     a bundle that answers requests, and what is stored of each answer
schema.py      tables of the store; store.py: reading and writing them
writer.py      one thread that commits what many requests wait for
export.py      the store as a feedback log
app.py         the routes; worker.py, supervisor.py: the processes
static/        the storefront page
"""
