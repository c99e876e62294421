"""Whether a server answers, asked before a library would try again for minutes."""

import urllib.error
import urllib.request

ANSWER_SECONDS = 10.0


def find_silence(host: str) -> OSError | None:
    """Return why a server, "https://NAME", cannot be reached; None where it answers, be it with a refusal."""
    try:
        request = urllib.request.Request(host, method="HEAD")
        urllib.request.urlopen(request, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError:
        return None  # any answer, a refusal of this address included, means that there is a connection
    except OSError as error:
        return error
    return None
