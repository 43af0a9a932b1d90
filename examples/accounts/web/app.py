"""Register, log in, stay logged in, log out.

Sessions live in the database, so that any replica knows them and a restart ends none.
"""

from flask import Flask, abort, redirect, request

import accounts

COOKIE = "session"

app = Flask(__name__)


def page(body, status=200):
    return f"<!doctype html><title>Accounts</title>{body}\n", status


def form(action, label):
    return (
        f'<form method="post" action="{action}">'
        '<input name="name" placeholder="name" required> '
        '<input name="password" type="password" placeholder="password" required> '
        f"<button>{label}</button></form>"
    )


def credentials():
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    # A name is letters and digits, so it can stand in a page as it is.
    if not (name.isalnum() and name.isascii() and len(name) <= 40):
        abort(page("A name is 1 to 40 letters and digits.", 400))
    if not 8 <= len(password) <= 200:
        abort(page("A password has 8 to 200 characters.", 400))
    return name, password


def logged_in(name):
    response = redirect("/", code=303)
    response.set_cookie(
        COOKIE, accounts.open_session(name), max_age=accounts.SESSION_SECONDS, httponly=True, samesite="Lax"
    )
    return response


@app.get("/")
def home():
    name = accounts.session_owner(request.cookies.get(COOKIE))
    if name is None:
        return page("You are not logged in." + form("/register", "Register") + form("/login", "Log in"))
    return page(f'Hello, {name}! <form method="post" action="/logout"><button>Log out</button></form>')


@app.post("/register")
def register():
    name, password = credentials()
    if not accounts.create(name, password):
        return page(f"The name {name} is taken.", 409)
    return logged_in(name)


@app.post("/login")
def login():
    name, password = credentials()
    if not accounts.verify(name, password):
        # The same words for a wrong name and a wrong password: neither tells who has an account.
        return page("Wrong name or password.", 401)
    return logged_in(name)


@app.post("/logout")
def logout():
    accounts.close_session(request.cookies.get(COOKIE))
    response = redirect("/", code=303)
    response.delete_cookie(COOKIE)
    return response


@app.get("/healthz")
def healthz():
    accounts.ping()
    return "ok\n"
