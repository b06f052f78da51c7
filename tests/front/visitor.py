"""A person with a browser: keeps cookies, goes where they are sent, fills in forms."""

import html
import re
import urllib.parse

PAGE = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")


class Visitor:
    """`send(method, target, headers, body)` asks the proxy in front, as `host`."""

    def __init__(self, send, host):
        self.send, self.origin, self.cookies = send, f"http://{host}", {}

    def ask(self, method, target, fields=None):
        headers = [PAGE, ("User-Agent", "a browser of these tests"), ("Sec-Fetch-Mode", "navigate"),
                   ("Sec-Fetch-Dest", "document")]
        body = b""
        if self.cookies:
            headers.append(("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items())))
        if fields is not None:
            headers += [("Origin", self.origin), ("Content-Type", "application/x-www-form-urlencoded")]
            body = urllib.parse.urlencode(fields).encode()
        answer = self.send(method, target, headers, body)
        for cookie in answer.all("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            if "Max-Age=0" in cookie:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer

    def goes_to(self, answer):
        """Where an answer sends to: on the same host, whatever server gave it."""
        location, = answer.all("location")
        path = location.removeprefix(self.origin)
        assert path.startswith("/") and not path.startswith("//"), location
        return path

    def visit(self, target):
        answer = self.ask("GET", target)
        for _ in range(10):
            if answer.status != 303:
                return target, answer
            target = self.goes_to(answer)
            answer = self.ask("GET", target)
        raise AssertionError(f"sent around in circles, the last time to {target}")

    def fill_in(self, page, **fields):
        """Sends the first form of a page with these fields, and goes on."""
        text = page.body.decode()
        form = text[text.index("<form"):text.index("</form>")]
        action = html.unescape(re.search(r'action="([^"]*)"', form)[1])
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form)
        answer = self.ask("POST", action, {**{name: html.unescape(value) for name, value in hidden}, **fields})
        assert answer.status == 303, (answer.status, answer.body)
        return self.visit(self.goes_to(answer))

    def sign_in(self, page, email, code):
        """From the first page on; `code(email)` says what was sent."""
        _, page = self.fill_in(page, action="email", email=email)
        return self.fill_in(page, action="code", code=code(email))


def link(page, label):
    """Where the link with that label leads."""
    return html.unescape(re.search(rf'<a[^>]* href="([^"]*)"[^>]*>{label}</a>', page.body.decode())[1])
