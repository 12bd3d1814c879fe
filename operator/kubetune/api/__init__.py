"""The FineTuneJob API: frozen pydantic models that the CRD is generated from. Pure: no I/O, no clock."""
