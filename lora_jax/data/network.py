"""Check whether a server answers, before a library would retry for minutes."""

import urllib.error
import urllib.request

ANSWER_SECONDS = 10.0


def find_silence(host: str) -> OSError | None:
    """Return why a server cannot be reached. None if it answers, even with a refusal.

    Args:
        host: The server, as "https://NAME".
    """
    try:
        request = urllib.request.Request(host, method="HEAD")
        urllib.request.urlopen(request, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError:
        return None  # any answer, even a refusal, means that there is a connection
    except OSError as error:
        return error
    return None
