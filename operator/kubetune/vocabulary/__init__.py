"""What every room speaks: names, reasons, errors, times, quantities, sentences. Pure."""
