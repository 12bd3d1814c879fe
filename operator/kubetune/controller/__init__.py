"""One look at one job after another: observe, plan, carry out, write the status."""
