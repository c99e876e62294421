"""Tables in: anybody's runs read, filtered, counted."""
