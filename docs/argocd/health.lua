-- Argo CD's health of a FineTuneJob, from the conditions of its status. See docs/how-to/argo-cd.md.
local status = obj.status or {}
if status.conditions == nil then
  return { status = "Progressing", message = "The operator has not seen the job yet." }
end
-- What was found out about an earlier spec says nothing about this one.
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "The operator has not seen the newest spec yet." }
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end

local function is_true(type)
  return conditions[type] ~= nil and conditions[type].status == "True"
end

local function message(type)
  local condition = conditions[type] or {}
  return (condition.reason or "Pending") .. ": " .. (condition.message or "")
end

if is_true("Stalled") then
  return { status = "Degraded", message = message("Stalled") }
end
if is_true("Ready") then
  return { status = "Healthy", message = status.abstract or message("Ready") }
end
return { status = "Progressing", message = message(is_true("Reconciling") and "Reconciling" or "Ready") }
