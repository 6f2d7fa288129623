"""Values that lead deeper than random ones: ids that are there, zones that exist, whole minutes, and the ends of time."""
import datetime
import itertools
import random
import uuid

import schemathesis
from hypothesis import strategies as st

# The ids of the document's examples, which the test puts into the database.
KNOWN = [f"0197a000-0000-7000-8000-00000000000{n}" for n in range(1, 6)]
ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "UTC", "Etc/GMT+12"]
NOW = datetime.datetime.now(datetime.timezone.utc).replace(second=0, microsecond=0, tzinfo=None)
ENDS = ["0001-01-01T00:00:00Z", "1900-01-01T00:00:00Z", "9999-12-31T23:59:00Z", "2028-02-29T23:30:00+14:00", "2026-10-25T02:30:00+01:00"]
KEY = "8e03978e-40d5-43e8-bc93-6894a57f9324"

known = st.sampled_from(KNOWN)
minutes = st.integers(-60 * 24 * 30, 60 * 24 * 365).map(lambda n: (NOW + datetime.timedelta(minutes=n)).strftime("%Y-%m-%dT%H:%M:00Z"))
days = st.dates(datetime.date(1970, 1, 1), datetime.date(2200, 12, 31)).map(str)
schemathesis.openapi.format("uuid", st.one_of(known, known, known, st.uuids().map(str)))
schemathesis.openapi.format("time-zone", st.sampled_from(ZONES))
schemathesis.openapi.format("date-time", st.one_of(minutes, minutes, st.sampled_from(ENDS)))
schemathesis.openapi.format("date", st.one_of(days, days, st.sampled_from(["0001-01-01", "9999-12-31", "2028-02-29"])))


turn = itertools.count()


@schemathesis.hook
def before_call(context, case, kwargs):
    """The document's example of a key stands for a key of one's own: sent twice, it would be another request's. And what is right
    by the schema is made right as a whole each second time, so that it gets past the rules that go across fields."""
    if case.headers and case.headers.get("Idempotency-Key") == KEY:
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    # Whoever has the token would take away what it is worth.
    if case.path.endswith("/members/{id}/leave") and case.path_parameters.get("id") not in KNOWN:
        case.path_parameters["id"] = KNOWN[1]
    if case.meta is None or not case.meta.generation.mode.is_positive or next(turn) % 2:
        return
    if case.headers:
        case.headers.pop("If-Match", None)
    if case.query:
        case.query.pop("cursor", None)
    body = case.body
    if not isinstance(body, dict):
        return
    body.pop("version", None)
    if "starts_at" in body:
        start = NOW + datetime.timedelta(minutes=random.Random(next(turn)).randrange(60, 60 * 24 * 300))
        body["starts_at"], body["ends_at"] = (f"{at:%Y-%m-%dT%H:%M}:00Z" for at in (start, start + datetime.timedelta(minutes=30)))
        body["mode"] = "virtual"
    if "patient_id" in body:
        body["patient_id"] = KNOWN[0]
    for name in ("doctor_id", "prescriber_id"):
        if body.get(name):
            body[name] = KNOWN[1]
    # Who has died gets no more visits: they come back.
    if "active" in body and "deceased" in body:
        body["active"], body["deceased"] = True, False
