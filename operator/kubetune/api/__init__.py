"""The FineTuneJob API: frozen pydantic models from which the CRD's schema is generated. Pure: no I/O, no clock."""
