// Two small things that a server cannot do: follow a task, and ask a wallet to sign. The page works without it.
"use strict";

const task = document.getElementById("task");
if (task && task.dataset.over === "no") {
  const seen = document.querySelectorAll("#timeline li").length;
  let lines = 0;
  const source = new EventSource(`/api/tasks/${task.dataset.task}/events`);
  for (const kind of ["pinned", "published", "assigned", "started", "responded", "completed", "failed", "cancelled",
    "refunded", "created", "cancel_requested", "confirm_requested", "refused_by_chain"]) {
    source.addEventListener(kind, () => {
      lines += 1;
      if (lines > seen) { source.close(); location.reload(); }
    });
  }
}

const button = document.getElementById("wallet");
if (button && window.ethereum) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const post = async (path, body) => {
      const answer = await fetch(path, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
      });
      const found = await answer.json();
      if (!answer.ok) throw new Error(found.detail);
      return found;
    };
    try {
      const [address] = await window.ethereum.request({ method: "eth_requestAccounts" });
      const { message } = await post("/api/auth/challenge", { address });
      const hex = "0x" + Array.from(new TextEncoder().encode(message), (b) => b.toString(16).padStart(2, "0")).join("");
      const signature = await window.ethereum.request({ method: "personal_sign", params: [hex, address] });
      const { token } = await post("/api/auth/token", { message, signature });
      document.querySelector("input[name=key]").value = token;
      document.querySelector("main form").submit();
    } catch (error) {
      const line = document.createElement("p");
      line.className = "problem";
      line.setAttribute("role", "alert");
      line.textContent = error.message;
      button.after(line);
    }
  });
}
