-- Asks the gateway whether a request may pass, for HAProxy 2.6 and later:
--
--     http-request lua.stytch_auth URL
--     http-request deny deny_status 503 unless { var(txn.stytch_allowed) -m bool }
--
-- Only 200 sets txn.stytch_allowed, and the identity headers with it. 401 and 403 go to the client
-- as the gateway wrote them. Anything else, an error in this script included, leaves the variable
-- unset, so the second line must be there.

-- What concerns one connection or the body, which the gateway does not read.
local NOT_ASKED = {
    ["connection"] = true, ["keep-alive"] = true, ["proxy-connection"] = true, ["te"] = true,
    ["trailer"] = true, ["transfer-encoding"] = true, ["upgrade"] = true, ["expect"] = true,
    ["content-length"] = true, ["host"] = true,
}

-- What the answer says of itself. Everything else in it is for the application.
local NOT_COPIED = {
    ["cache-control"] = true, ["connection"] = true, ["content-length"] = true, ["content-type"] = true,
    ["date"] = true, ["keep-alive"] = true, ["set-cookie"] = true, ["transfer-encoding"] = true,
}

-- Lists of values begin at 0 or at 1, as HAProxy likes.
local function values(list)
    local found = {}
    for index = 0, #list do
        if list[index] ~= nil then
            found[#found + 1] = list[index]
        end
    end
    return found
end

local function question(txn)
    local headers = {}
    for name, list in pairs(txn.http:req_get_headers()) do
        if not NOT_ASKED[name] then
            headers[name] = values(list)
        end
    end
    headers["x-forwarded-method"] = { txn.f:method() }
    headers["x-forwarded-uri"] = { txn.f:pathq() }
    return headers
end

local function allow(txn, answer)
    for name, list in pairs(answer.headers) do
        if not NOT_COPIED[name] then
            txn.http:req_del_header(name)
            for _, value in ipairs(values(list)) do
                txn.http:req_add_header(name, value)
            end
        end
    end
    for number, cookie in ipairs(values(answer.headers["set-cookie"] or {})) do
        txn:set_var("txn.stytch_cookie_" .. number, cookie)
    end
    txn:set_var("txn.stytch_allowed", true)
end

local function refuse(txn, answer)
    local reply = txn:reply({ status = answer.status, reason = answer.reason, body = answer.body })
    for name, list in pairs(answer.headers) do
        if name ~= "connection" and name ~= "content-length" and name ~= "transfer-encoding" then
            for _, value in ipairs(values(list)) do
                reply:add_header(name, value)
            end
        end
    end
    txn:done(reply)
end

core.register_action("stytch_auth", { "http-req" }, function(txn, url)
    local answer = core.httpclient():get({ url = url, headers = question(txn), timeout = 10000 })
    if answer == nil then
        return
    elseif answer.status == 200 then
        allow(txn, answer)
    elseif answer.status == 401 or answer.status == 403 or answer.status == 303 then
        refuse(txn, answer)
    end
end, 1)
