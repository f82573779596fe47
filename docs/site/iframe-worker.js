// Browsers start no workers for pages that are read from the disk. There, the search runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      window.addEventListener("message", ({ source, data }) => {
        if (source !== this.frame.contentWindow) return
        const event = new MessageEvent("message", { data })
        this.dispatchEvent(event)
        if (this.onmessage) this.onmessage(event)
      })
      document.body.appendChild(this.frame)
      this.ready = new Promise(resolve => { this.frame.onload = resolve })
      const page = this.frame.contentDocument
      page.open()
      page.write("<script>postMessage = data => parent.postMessage(data, '*')</" + `script><script src="${url}"></` + "script>")
      page.close()
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {
      this.frame.remove()
    }
  }
}
