"""How near one picture is to another."""
